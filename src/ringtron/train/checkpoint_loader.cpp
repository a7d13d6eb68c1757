#include "ringtron/train/checkpoint_loader.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "ringtron/base/check.h"
#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"
#include "ringtron/base/log.h"
#include "ringtron/base/text.h"
#include "ringtron/checkpoint/checkpoint_finder.h"
#include "ringtron/checkpoint/checkpoint_reader.h"
#include "ringtron/checkpoint/lineage_notice.h"
#include "ringtron/checkpoint/load_folder.h"
#include "ringtron/hugging_face/hf_folder.h"
#include "ringtron/optim/main_weight.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/loading/hugging_face_loader.h"
#include "ringtron/train/loading/read_parameter.h"
#include "ringtron/train/parameter_slabs.h"
#include "ringtron/train/run_metadata.h"

namespace ringtron {
namespace {

// What is read of one parameter, and under which names.
struct Sources {
  std::string value, main;           // empty: not read
  std::vector<std::string> moments;  // in the order of UpdateRule::moments()

  Sources(const CheckpointReader& reader, const Parameter& parameter, const Optimizer& optimizer, bool with_optimizer) {
    const std::string& name = parameter.name;
    const std::string copy = "optimizer.main." + name;
    // A checkpoint in bf16 or fp16 has main weights beside its rounded ones; one in fp32 has its main weights as
    // weights. What was rounded to another type is not rounded again.
    const at::ScalarType type = parameter.value.scalar_type();
    const bool is_half = at::isReducedFloatingType(type);
    const bool rounded_alike =
        is_half && reader.has("model." + name) && type_of(reader.tensor("model." + name).dtype) == type;
    value = !rounded_alike && reader.has(copy) ? copy : "model." + name;
    if (!with_optimizer) return;
    if (is_half) main = reader.has(copy) ? copy : "model." + name;
    for (const std::string_view moment : optimizer.moments_of(parameter))
      moments.push_back(fmt::format("optimizer.{}.{}", moment, name));
  }
};

// The kinds of tensors of a parameter in a checkpoint.
constexpr const char* kKinds[] = {"model.", "optimizer.main.", "optimizer.exp_avg.", "optimizer.exp_avg_sq.",
                                  "optimizer.momentum_buffer."};

// Tensors that have no place on any rank: those of one pipeline stage have none on another. Collective.
std::set<std::string> tensors_without_place(const Job& job, const CheckpointReader& reader,
                                            const TrainingState& state) {
  const auto& tensors = reader.manifest().tensors;
  std::set<std::string> places;
  for (const Parameter* parameter : state.store.all()) {
    for (const char* kind : kKinds) places.insert(kind + parameter->name);
  }
  at::Tensor has_place = at::zeros({static_cast<std::int64_t>(tensors.size())}, at::kInt);
  std::int64_t number = 0;
  for (const auto& [name, entry] : tensors) has_place[number++] = places.contains(name) ? 1 : 0;
  job.world().all_reduce(has_place, ReduceOp::max).wait();
  std::set<std::string> without;
  number = 0;
  for (const auto& [name, entry] : tensors) {
    if (has_place[number++].item<int>() == 0) without.insert(name);
  }
  return without;
}

// What is wrong: every tensor that this model needs must be there in its shape, and every tensor that is there must
// have a place in it.
std::vector<std::string> tensor_faults(const CheckpointReader& reader, const TrainingState& state, bool with_optimizer,
                                       const std::set<std::string>& without_place) {
  const bool finetune = state.config->checkpoint.finetune;
  std::vector<std::string> faults;
  for (const Parameter* parameter : state.store.all()) {
    const Sources sources(reader, *parameter, state.optimizer, with_optimizer);
    const Shape wanted = logical_shape(*parameter);
    std::set<std::string> names = {"model." + parameter->name, sources.value, sources.main};
    names.insert(sources.moments.begin(), sources.moments.end());
    names.erase("");
    for (const std::string& name : names) {
      if (!reader.has(name)) {
        faults.push_back(fmt::format("{} is missing", name));
      } else if (const TensorEntry& entry = reader.tensor(name); !fits(entry.shape, *parameter, finetune)) {
        faults.push_back(
            fmt::format("{} has shape {}, this model's is {}", name, to_string(entry.shape), to_string(wanted)));
      } else if (!type_of(entry.dtype)) {
        faults.push_back(fmt::format("{} is of type {}, expected BF16, F16, F32 or F64", name, name_of(entry.dtype)));
      }
    }
  }
  for (const std::string& name : without_place)
    faults.push_back(fmt::format("{} {} has no place in this model", name, to_string(reader.tensor(name).shape)));
  return faults;
}

[[noreturn]] void refuse_other_model(const CheckpointReader& reader, const std::vector<std::string>& faults) {
  throw ConfigError(
      fmt::format("{} is of another model than this command line's: {}. Give the flags that the checkpoint was made "
                  "with (see `inspect checkpoint`), or load another one",
                  reader.folder().string(), join(faults, "; ")));
}

void read_into(CheckpointReader& reader, const std::string& name, const Parameter& parameter, const at::Tensor& target,
               const Job& job) {
  read_parameter([&](const Slab& slab, std::span<std::byte> out) { reader.read_slice(name, slab, out); },
                 *type_of(reader.tensor(name).dtype), parameter, target, job);
}

// Into `target`, which has the elements that `s` names.
void read_part_into(CheckpointReader& reader, const std::string& name, const OptimizerState& s,
                    const at::Tensor& target, const Job& job) {
  if (s.is_whole()) {
    read_into(reader, name, *s.parameter, target, job);
    return;
  }
  const at::Tensor whole = at::zeros(s.parameter->value.sizes(), target.options());
  read_into(reader, name, *s.parameter, whole, job);
  target.copy_(s.part_of(whole));
}

void read_tensors(const Job& job, CheckpointReader& reader, TrainingState& state, bool with_optimizer) {
  const at::NoGradGuard no_grad;
  std::map<const Parameter*, OptimizerState*> owned;
  for (OptimizerState& s : state.optimizer.states()) owned[s.parameter] = &s;
  for (const Parameter* parameter : state.store.all()) {
    const Sources sources(reader, *parameter, state.optimizer, with_optimizer);
    const at::Tensor value = parameter->value.detach();
    read_into(reader, sources.value, *parameter, value, job);
    if (!with_optimizer) continue;
    const auto own = owned.find(parameter);
    if (!sources.main.empty()) {
      // The weight follows from the main weight also where another rank has that.
      const at::Tensor main = value.to(at::kFloat);  // padding rows stay as they are
      read_into(reader, sources.main, *parameter, main, job);
      if (value.scalar_type() == at::kBFloat16)
        split_into_halves(main, value, at::empty(value.sizes(), value.options().dtype(at::kShort)));
      else
        value.copy_(main);
      if (own != owned.end()) own->second->set_main(own->second->part_of(main));
    }
    if (own == owned.end()) continue;
    for (std::size_t i = 0; i < sources.moments.size(); ++i)
      read_part_into(reader, sources.moments[i], *own->second, own->second->moment(i), job);
  }
}

ScheduleConflict conflict_rule(const OptimizerConfig& optimizer) {
  if (optimizer.override_opt_param_scheduler) return ScheduleConflict::override_checkpoint;
  if (optimizer.use_checkpoint_opt_param_scheduler) return ScheduleConflict::use_checkpoint;
  return ScheduleConflict::refuse;
}

void restore_progress(const Config& config, const RunMetadata& metadata, TrainingState& state, bool with_optimizer) {
  state.progress = metadata.progress;
  if (with_optimizer) {
    state.optimizer.set_step_count(metadata.optimizer_step_count, metadata.optimizer_skipped_steps);
    if (state.loss_scale && metadata.loss_scale) state.loss_scale->set_state(*metadata.loss_scale);
  }
  // Without training there is no schedule that could differ.
  if (!config.batch.skip_train) state.schedule.load(metadata.schedule, conflict_rule(config.optimizer));
  state.line = line_through(metadata.lineage, metadata.progress.iteration);
  if (!config.batch.skip_train) state.data_before = metadata.data;
}

// The checkpoint to load, or nothing for a fresh start. Says what was passed over. On one rank, which decides for all.
std::optional<CheckpointCandidate> find(const Config& config) {
  const std::filesystem::path folder = config.checkpoint.load;
  std::vector<std::filesystem::path> own;  // what this run itself writes there before it saves
  for (const std::string& path :
       {config.logging.tensorboard_dir, config.logging.log_jsonl, config.data.data_cache_path}) {
    if (!path.empty()) own.emplace_back(path);
  }
  std::error_code ignored;  // what is no folder is refused below, with what it is
  if (config.checkpoint.ckpt_step > 0 && std::filesystem::is_directory(folder, ignored) &&
      !list_iterations(folder).empty()) {
    return find_checkpoint_of(folder, config.checkpoint.ckpt_step);
  }
  const auto search = search_load_folder(folder, own);
  if (!search) return std::nullopt;
  for (const CheckpointCandidate& damaged : search->damaged) {
    warn_line("passing over checkpoint {}: {}", damaged.folder.string(), damaged.problem);
  }
  for (const CheckpointCandidate& damaged : search->unplaced) {
    warn_line("checkpoint {} is damaged: {}", damaged.folder.string(), damaged.problem);
  }
  if (const std::string notice = load_notice(folder, *search, FolderUse::load); !notice.empty()) warn_line(notice);
  if (const std::string notice = tracker_notice(folder, *search, FolderUse::load); !notice.empty()) warn_line(notice);
  return search->newest;
}

// A fresh start, unless something was asked for that needs a checkpoint.
void require_fresh_start(const Config& config) {
  const CheckpointConfig& checkpoint = config.checkpoint;
  const char* reason = checkpoint.exit_on_missing_checkpoint ? "--exit-on-missing-checkpoint was given"
                       : checkpoint.ckpt_step > 0            ? "--ckpt-step names one"
                       : checkpoint.finetune                 ? "--finetune goes on from one"
                       : config.batch.skip_train             ? "--skip-train evaluates one"
                                                             : nullptr;
  if (reason != nullptr) {
    throw IoError(
        fmt::format("there is no complete checkpoint in {}, and {}. Give the folder of --save of the run that made one",
                    checkpoint.load, reason));
  }
  warn_line("could not find a complete checkpoint in {}, which is absent or empty", checkpoint.load);
  print_line("    will not load any checkpoints and will start from random");
}

// The folder and iteration that rank 0 has found, on all ranks; an empty folder: none.
CheckpointCandidate find_collectively(const Job& job) {
  CheckpointCandidate found;
  run_collectively(job.world(), [&] {
    if (!job.is_first_rank()) return;
    if (auto candidate = find(job.config())) {
      found = std::move(*candidate);
    } else {
      require_fresh_start(job.config());
    }
  });
  const std::string text =
      gather_texts(job.world(), fmt::format("{} {}", found.iteration, found.folder.string())).front();
  const std::size_t blank = text.find(' ');
  found.iteration = std::stoll(text.substr(0, blank));
  found.folder = text.substr(blank + 1);
  return found;
}

// As rank 0 sees it.
bool is_hf_folder_for_all(const Job& job) {
  const bool here = job.is_first_rank() && is_hf_folder(job.config()->checkpoint.load);
  return agree_max(job.world(), here ? 1 : 0) == 1;
}

// A folder that the machines do not share may hold other checkpoints under the same names.
void require_same_manifest(const Job& job, const CheckpointReader& reader) {
  const auto hashes = gather_texts(job.world(), hex64(hash64(manifest_to_text(reader.manifest()))));
  run_collectively(job.world(), [&] {
    if (hashes[static_cast<std::size_t>(job.rank())] == hashes[0]) return;
    throw IoError(
        fmt::format("{} is another checkpoint on this machine than on that of rank 0. --load must be a folder that all "
                    "ranks share",
                    reader.folder().string()));
  });
}

// What the checkpoint says, compared with this run. Says on rank 0 what may differ and does.
RunMetadata require_same_model(const Job& job, const CheckpointReader& reader, const TrainingState& state,
                               bool with_optimizer, const std::set<std::string>& without_place) {
  RunMetadata metadata;
  try {
    metadata = read_run_metadata(reader.manifest());
  } catch (const IoError& e) {
    throw IoError(fmt::format("{}: {}", (reader.folder() / kManifestName).string(), e.what()));
  }
  const StoredDifferences differences =
      compare_stored_config(metadata.configuration, state.config, {{kVocabularyKey, job.tokenizer().description()}});
  const bool read_optimizer = with_optimizer && metadata.has_optimizer;
  std::vector<std::string> faults = differences.refused;
  const OptimizerType stored = metadata.configuration.config.optimizer.optimizer,
                      own = state.config->optimizer.optimizer;
  if (faults.empty() && read_optimizer && stored != own) {
    throw ConfigError(
        fmt::format("{} has the state of --optimizer {}, this run is of --optimizer {}. Add --no-load-optim to begin "
                    "with its weights alone",
                    reader.folder().string(), word_of(stored), word_of(own)));
  }
  constexpr std::size_t kShown = 8;
  const std::vector<std::string> of_tensors = tensor_faults(reader, state, read_optimizer, without_place);
  const std::size_t shown = std::min(kShown, of_tensors.size());
  faults.insert(faults.end(), of_tensors.begin(), of_tensors.begin() + static_cast<std::ptrdiff_t>(shown));
  if (shown < of_tensors.size()) faults.push_back(fmt::format("and {} more tensors", of_tensors.size() - shown));
  if (!faults.empty()) refuse_other_model(reader, faults);
  if (with_optimizer && !metadata.has_optimizer) {
    throw ConfigError(fmt::format("{} was saved with --no-save-optim and has no optimizer state. Add --no-load-optim",
                                  reader.folder().string()));
  }
  if (job.is_first_rank()) {
    for (const std::string& line : differences.told) warn_line("the checkpoint was made with other flags: {}", line);
  }
  return metadata;
}

}  // namespace

bool load_checkpoint(const Job& job, TrainingState& state, std::optional<TransferRecord>* record) {
  const CheckpointConfig& config = job.config()->checkpoint;
  if (config.finetune && is_hf_folder_for_all(job)) {
    load_hugging_face(job, state);
    return true;
  }
  const CheckpointCandidate found = find_collectively(job);
  if (found.folder.empty()) return false;
  const bool with_optimizer = !config.finetune && !config.no_load_optim;
  // Adds to damage what to load instead.
  const auto with_advice = [&](auto&& action) {
    run_collectively(job.world(), [&] {
      try {
        action();
      } catch (const IoError& e) {
        throw IoError(fmt::format("{}; {}", e.what(), fallback_advice(config.load, found.iteration)));
      }
    });
  };
  if (job.is_first_rank()) {
    print_line(" loading distributed checkpoint from {} at iteration {}", config.load, found.iteration);
  }
  const auto begun = SteadyClock::now();
  std::optional<CheckpointReader> reader;
  with_advice([&] { reader.emplace(found.folder); });
  require_same_manifest(job, *reader);
  const std::set<std::string> without_place = tensors_without_place(job, *reader, state);
  with_advice([&] {
    const RunMetadata metadata = require_same_model(job, *reader, state, with_optimizer, without_place);
    // Each byte of the checkpoint is checked once, by one of the ranks, whether this layout reads it or not.
    reader->verify(static_cast<std::size_t>(job.rank()), static_cast<std::size_t>(job.environment().world_size));
    read_tensors(job, *reader, state, with_optimizer);
    if (!with_optimizer) state.optimizer.restart_from_parameters();
    if (!config.finetune) restore_progress(job.config(), metadata, state, with_optimizer);
  });
  // All of it is read once by all ranks together, to be checked, whatever this layout needs of it.
  TransferRecord told{.kind = TransferRecord::Kind::load,
                      .timestamp = local_timestamp(),
                      .iteration = found.iteration,
                      .seconds = seconds_since(begun)};
  for (const auto& [name, file] : reader->manifest().files) told.bytes += static_cast<double>(file.bytes);
  if (job.is_first_rank()) {
    if (config.no_load_optim && !config.finetune && !job.config()->batch.skip_train) {
      print_line(
          " --no-load-optim: the optimizer's moments start at zero; iteration, consumed samples and the learning-rate "
          "schedule go on where they were (Megatron-LM restarts the schedule)");
    }
    print_line("  successfully loaded checkpoint from {} [ t 1/{}, p 1/{} ] at iteration {}", config.load,
               job.parallel().tp_size(), job.parallel().pp_size(), found.iteration);
    print_line(format_transfer(told));
  }
  if (record != nullptr) *record = told;
  return true;
}

}  // namespace ringtron

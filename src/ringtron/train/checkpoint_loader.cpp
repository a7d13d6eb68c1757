#include "ringtron/train/checkpoint_loader.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/checkpoint/checkpoint_finder.h"
#include "ringtron/checkpoint/checkpoint_reader.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/parameter_slabs.h"

namespace ringtron {
namespace {

void read_into(CheckpointReader& reader, const std::string& name, const Parameter& parameter, const at::Tensor& target,
               const Job& job) {
  const TensorEntry& entry = reader.tensor(name);
  const Shape wanted = logical_shape(parameter);
  if (entry.shape != wanted) {
    throw ConfigError(fmt::format("{} in {} has shape {}, but this model's is {}. Give the flags that the checkpoint was "
                                  "made with (see `inspect checkpoint`)",
                                  name, reader.folder().string(), to_string(entry.shape), to_string(wanted)));
  }
  for (const LocalSlab& local : slabs_of(parameter, job)) {
    auto sizes = target.sizes().vec();
    sizes[static_cast<std::size_t>(local.slab.dim)] = local.slab.length;
    const at::ScalarType stored = entry.dtype == DType::f64   ? at::kDouble
                                  : entry.dtype == DType::f32 ? at::kFloat
                                                              : at::kBFloat16;
    at::Tensor host = at::empty(sizes, at::TensorOptions().dtype(stored));
    reader.read_slice(name, local.slab, bytes_of(host));
    target.narrow(local.slab.dim, local.local_offset, local.slab.length).copy_(host);
  }
}

void read_tensors(const Job& job, CheckpointReader& reader, TrainingState& state, bool with_optimizer) {
  const at::NoGradGuard no_grad;
  for (OptimizerState& s : state.optimizer.states()) {
    const Parameter& parameter = *s.parameter;
    read_into(reader, "model." + parameter.name, parameter, parameter.value, job);
    if (!with_optimizer) continue;
    if (!s.main.is_alias_of(parameter.value)) {
      // An fp32 checkpoint has no copies: its weights are the main weights.
      const std::string main = "optimizer.main." + parameter.name;
      read_into(reader, reader.has(main) ? main : "model." + parameter.name, parameter, s.main, job);
    }
    read_into(reader, "optimizer.exp_avg." + parameter.name, parameter, s.exp_avg, job);
    read_into(reader, "optimizer.exp_avg_sq." + parameter.name, parameter, s.exp_avg_sq, job);
  }
}

ScheduleConflict conflict_rule(const OptimizerConfig& optimizer) {
  if (optimizer.override_opt_param_scheduler) return ScheduleConflict::override_checkpoint;
  if (optimizer.use_checkpoint_opt_param_scheduler) return ScheduleConflict::use_checkpoint;
  return ScheduleConflict::refuse;
}

void restore_progress(const Job& job, const nlohmann::json& metadata, TrainingState& state, bool with_optimizer) {
  state.progress.iteration = metadata.at("iteration");
  state.progress.consumed_train_samples = metadata.at("consumed_train_samples");
  state.progress.consumed_valid_samples = metadata.at("consumed_valid_samples");
  if (with_optimizer) state.optimizer.set_step_count(metadata.at("optimizer_step_count"));
  ScheduleState schedule;
  for (const auto& [key, value] : metadata.at("opt_param_scheduler").items()) schedule[key] = value;
  state.schedule.load(schedule, conflict_rule(job.config().optimizer));
}

// The folder to load, or nothing when there is none. Says on rank 0 what was passed over.
std::optional<CheckpointCandidate> find(const Job& job) {
  const CheckpointConfig& config = job.config().checkpoint;
  if (config.ckpt_step > 0) return find_checkpoint_of(config.load, config.ckpt_step);
  const CheckpointSearch search = find_newest_checkpoint(config.load);
  if (job.is_first_rank()) {
    for (const CheckpointCandidate& damaged : search.damaged) {
      warn_line("passing over checkpoint {}: {}", damaged.folder.string(), damaged.problem);
    }
  }
  return search.newest;
}

}  // namespace

bool load_checkpoint(const Job& job, TrainingState& state) {
  const CheckpointConfig& config = job.config().checkpoint;
  std::optional<CheckpointCandidate> found;
  together(job.world(), [&] { found = find(job); });
  if (!found) {
    if (config.exit_on_missing_checkpoint) {
      throw IoError(fmt::format("there is no complete checkpoint in {} and --exit-on-missing-checkpoint was given",
                                config.load));
    }
    if (job.is_first_rank()) {
      warn_line("could not find a complete checkpoint in {}", config.load);
      print_line("    will not load any checkpoints and will start from random");
    }
    return false;
  }
  bool with_optimizer = !config.finetune && !config.no_load_optim;
  together(job.world(), [&] {
    try {
      if (job.is_first_rank()) {
        print_line(" loading distributed checkpoint from {} at iteration {}", config.load, found->iteration);
      }
      CheckpointReader reader(found->folder);
      // Each byte of the checkpoint is checked once, by one of the ranks, whether this layout reads it or not.
      reader.verify(static_cast<std::size_t>(job.rank()), static_cast<std::size_t>(job.environment().world_size));
      const nlohmann::json& metadata = reader.metadata();
      if (with_optimizer && !metadata.at("has_optimizer").get<bool>()) {
        throw ConfigError(fmt::format("{} was saved with --no-save-optim and has no optimizer state. Add --no-load-optim",
                                      found->folder.string()));
      }
      read_tensors(job, reader, state, with_optimizer);
      if (!with_optimizer) state.optimizer.restart_from_parameters();
      if (!config.finetune) restore_progress(job, metadata, state, with_optimizer);
    } catch (const IoError& e) {
      throw IoError(fmt::format("{}; {}", e.what(), fallback_advice(config.load, found->iteration)));
    }
  });
  if (job.is_first_rank()) {
    if (config.no_load_optim && !config.finetune) {
      print_line(" --no-load-optim: Adam's moments start at zero; iteration, consumed samples and the learning-rate "
                 "schedule go on where they were (Megatron-LM restarts the schedule)");
    }
    print_line("  successfully loaded checkpoint from {} [ t 1/{}, p 1/1 ] at iteration {}", config.load,
               job.parallel().tp_size(), found->iteration);
  }
  return true;
}

}  // namespace ringtron

#include "ringtron/train/checkpoint_saver.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/checkpoint/checkpoint_finder.h"
#include "ringtron/checkpoint/lineage_notice.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/parameter_slabs.h"
#include "ringtron/train/run_metadata.h"
#include "ringtron/train/start_up/output_folders.h"

namespace ringtron {
namespace {

DType dtype_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kDouble:
      return DType::f64;
    case at::kFloat:
      return DType::f32;
    case at::kBFloat16:
      return DType::bf16;
    default:
      break;
  }
  RT_CHECK(false, "no such type in a checkpoint: {}", c10::toString(tensor.scalar_type()));
}

// Slices to be written, with the host copies that they borrow.
struct HostSlices {
  std::vector<at::Tensor> copies;
  std::vector<TensorSlice> slices;

  // `part`: the elements that `s` names of a tensor.
  void add(const std::string& name, const OptimizerState& s, const at::Tensor& part, const Job& job) {
    const at::Tensor flat = part.detach().reshape(-1);
    for (const OwnedSlab& owned : owned_slabs(s, job)) {
      copies.push_back(flat.narrow(0, owned.state_offset, owned.range.size()).cpu());
      slices.push_back({name, dtype_of(part), logical_shape(*s.parameter), owned.slab, bytes_of(copies.back()),
                        owned.is_whole ? std::nullopt : std::optional(owned.range)});
    }
  }
};

// The states that this rank writes, of those that it has.
std::vector<OptimizerState*> states_to_write(const Job& job, const TrainingState& state) {
  const Communicator& replicas = job.parallel().data_context();
  const bool are_shared = !job.config()->parallel.use_distributed_optimizer;  // all replicas have the same
  std::vector<OptimizerState*> out;
  int number = 0;
  for (OptimizerState& s : state.optimizer.states()) {
    if (are_shared && number++ % replicas.size() != replicas.rank()) continue;
    out.push_back(&s);
  }
  return out;
}

HostSlices slices_to_write(const Job& job, const TrainingState& state) {
  HostSlices out;
  const bool with_optimizer = !job.config()->checkpoint.no_save_optim;
  for (const OptimizerState* s : states_to_write(job, state)) {
    const Parameter& parameter = *s->parameter;
    if (parameter.is_copy || (!parameter.is_sharded() && job.parallel().tp_rank() != 0)) continue;
    out.add("model." + parameter.name, *s, s->part_of(parameter.value.detach()), job);
    if (!with_optimizer) continue;
    if (s->has_own_main()) out.add("optimizer.main." + parameter.name, *s, s->main(), job);
    out.add("optimizer.exp_avg." + parameter.name, *s, s->exp_avg, job);
    out.add("optimizer.exp_avg_sq." + parameter.name, *s, s->exp_avg_sq, job);
  }
  return out;
}

std::string write_own_shard(CheckpointWriter& writer, const Job& job, const TrainingState& state) {
  try {
    return writer.write_shard(job.rank(), slices_to_write(job, state).slices);
  } catch (const std::bad_alloc&) {
    throw IoError("not enough memory for this rank's part of the checkpoint");
  }
}

// Bytes that a checkpoint takes for each element of a parameter.
std::uint64_t stored_width(const Parameter& parameter, bool with_optimizer) {
  const std::uint64_t weight = parameter.value.element_size();
  const std::uint64_t of_state = std::max<std::uint64_t>(weight, sizeof(float));
  if (!with_optimizer) return weight;
  return weight + (weight < of_state ? 3 : 2) * of_state;  // two moments, and of bf16 the main weight
}

}  // namespace

bool CheckpointSaver::saves() const {
  return !job_.config()->checkpoint.save.empty() && !job_.config()->batch.skip_train;
}

void CheckpointSaver::require_folder() {
  if (!saves()) return;
  const std::filesystem::path folder = job_.config()->checkpoint.save;
  run_collectively(job_.world(), [&] {
    if (!job_.is_first_rank()) return;
    require_writable("--save", folder);
    lease_ = std::make_unique<SaveLease>(folder);
  });
  run_collectively(job_.world(), [&] {
    if (job_.is_first_rank() || job_.environment().local_rank != 0) return;
    if (!is_taken(folder / ".lease")) {
      throw IoError(
          fmt::format("--save {}: rank 0 has made it, and it is absent or another folder on this machine. Give a "
                      "folder that all ranks share",
                      folder.string()));
    }
    require_writable("--save", folder);
  });
}

// The sum over the stages of a pipeline of what all ranks of a stage know alike. Collective.
std::uint64_t CheckpointSaver::of_all_stages(std::uint64_t of_stage) const {
  const int stages = job_.parallel().pp_size();
  if (stages == 1) return of_stage;
  at::Tensor sum = at::full({1}, static_cast<std::int64_t>(of_stage), at::kLong);
  job_.world().all_reduce(sum).wait();
  return static_cast<std::uint64_t>(sum.item<std::int64_t>() / (job_.environment().world_size / stages));
}

void CheckpointSaver::warn_of_space(const TrainingState& state, std::int64_t train_iterations) const {
  if (!saves()) return;
  std::uint64_t whole = 0, own = 0;
  const bool with_optimizer = !job_.config()->checkpoint.no_save_optim;
  for (const Parameter* p : state.store.all()) {
    if (p->is_copy) continue;
    whole +=
        stored_width(*p, with_optimizer) * static_cast<std::uint64_t>(element_count(logical_shape(*p)).value_or(0));
  }
  for (const OptimizerState* s : states_to_write(job_, state))
    own += stored_width(*s->parameter, with_optimizer) * static_cast<std::uint64_t>(s->elements.size());
  const CheckpointConfig& config = job_.config()->checkpoint;
  whole = of_all_stages(whole);
  const std::int64_t left = train_iterations - state.progress.iteration;
  const std::int64_t saves = (left + config.save_interval - 1) / config.save_interval;
  for (const std::string& line : space_warnings({config.save, whole, own, saves, job_.is_first_rank()}))
    warn_line(line);
}

std::string CheckpointSaver::resume_advice() const {
  const std::string& folder = job_.config()->checkpoint.save;
  try {
    if (const auto newest = find_newest_checkpoint(folder).newest) {
      return fmt::format("The newest complete checkpoint is {}: mend the cause and go on from it with --load {}",
                         newest->folder.string(), folder);
    }
    return fmt::format("{} holds no complete checkpoint", folder);
  } catch (const std::exception& e) {
    return fmt::format("{} cannot be looked through for older checkpoints: {}", folder, e.what());
  }
}

void CheckpointSaver::report_other_runs(const TrainingState& state, std::int64_t train_iterations) {
  if (!saves()) return;
  run_collectively(job_.world(), [&] {
    if (!job_.is_first_rank()) return;
    for (const std::string& line :
         name_warnings(job_.config()->checkpoint.save, state.progress.iteration, train_iterations)) {
      warn_line(line);
    }
    const auto notice = save_notice(job_.config()->checkpoint.save, state.line);
    if (!notice.empty()) warn_line(notice);
  });
}

void CheckpointSaver::save(const TrainingState& state) {
  const CheckpointConfig& config = job_.config()->checkpoint;
  const std::int64_t iteration = state.progress.iteration;
  if (job_.is_first_rank()) {
    print_line("saving checkpoint at iteration {:7d} to {} in ringtron format", iteration, config.save);
  }
  CheckpointWriter writer(files_, config.save, iteration);
  std::string name, part;
  try {
    run_collectively(job_.world(), [&] {
      if (!job_.is_first_rank()) return;
      if (!lease_ || !lease_->is_held()) lease_ = std::make_unique<SaveLease>(config.save);
      name = writer.prepare(*lease_);
    });
    writer.write_into(gather_texts(job_.world(), name)[0]);
    run_collectively(job_.world(), [&] { part = write_own_shard(writer, job_, state); });
    const auto parts = gather_texts(job_.world(), part);
    run_collectively(job_.world(), [&] {
      if (!job_.is_first_rank()) return;
      const std::int64_t number = save_number_ > 0 ? save_number_ + 1 : next_save_number(config.save);
      writer.publish(parts, run_metadata_of(state, {{kVocabularyKey, job_.tokenizer().description()}},
                                            {run_, number, state.line}));
      save_number_ = number;
    });
  } catch (const CommError&) {
    throw;
  } catch (...) {
    if (job_.is_first_rank()) writer.abandon();
    throw;
  }
  if (job_.is_first_rank()) {
    print_line("  successfully saved checkpoint from iteration {:7d} to {} [ t 1/{}, p 1/{} ]", iteration, config.save,
               job_.parallel().tp_size(), job_.parallel().pp_size());
  }
}

}  // namespace ringtron

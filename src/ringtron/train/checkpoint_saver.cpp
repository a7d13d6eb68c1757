#include "ringtron/train/checkpoint_saver.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/config/config_text.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/parameter_slabs.h"

namespace ringtron {
namespace {

DType dtype_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kDouble: return DType::f64;
    case at::kFloat: return DType::f32;
    case at::kBFloat16: return DType::bf16;
    default: break;
  }
  RT_CHECK(false, "no such type in a checkpoint: {}", c10::toString(tensor.scalar_type()));
}

// Slices to be written, with the host copies that they borrow.
struct HostSlices {
  std::vector<at::Tensor> copies;
  std::vector<TensorSlice> slices;

  void add(const std::string& name, const Parameter& parameter, const at::Tensor& tensor, const Job& job) {
    for (const LocalSlab& local : slabs_of(parameter, job)) {
      const at::Tensor part = tensor.detach().narrow(local.slab.dim, local.local_offset, local.slab.length);
      copies.push_back(part.cpu().contiguous());
      slices.push_back({name, dtype_of(tensor), logical_shape(parameter), local.slab, bytes_of(copies.back())});
    }
  }
};

HostSlices slices_to_write(const Job& job, const TrainingState& state) {
  HostSlices out;
  const Communicator& replicas = job.parallel().data_context();
  const bool with_optimizer = !job.config().checkpoint.no_save_optim;
  int number = 0;
  for (OptimizerState& s : state.optimizer.states()) {
    const Parameter& parameter = *s.parameter;
    if (number++ % replicas.size() != replicas.rank()) continue;
    if (!parameter.is_sharded() && job.parallel().tp_rank() != 0) continue;
    out.add("model." + parameter.name, parameter, parameter.value, job);
    if (!with_optimizer) continue;
    if (!s.main.is_alias_of(parameter.value)) out.add("optimizer.main." + parameter.name, parameter, s.main, job);
    out.add("optimizer.exp_avg." + parameter.name, parameter, s.exp_avg, job);
    out.add("optimizer.exp_avg_sq." + parameter.name, parameter, s.exp_avg_sq, job);
  }
  return out;
}

nlohmann::json metadata_of(const Job& job, const TrainingState& state) {
  nlohmann::json schedule = nlohmann::json::object();
  for (const auto& [key, value] : state.schedule.state()) schedule[key] = value;
  return {{"iteration", state.progress.iteration},
          {"consumed_train_samples", state.progress.consumed_train_samples},
          {"consumed_valid_samples", state.progress.consumed_valid_samples},
          {"optimizer_step_count", state.optimizer.step_count()},
          {"has_optimizer", !job.config().checkpoint.no_save_optim},
          {"opt_param_scheduler", schedule},
          {"configuration", nlohmann::json::parse(config_to_json(job.config()))}};
}

}  // namespace

void CheckpointSaver::demand_folder() {
  const std::filesystem::path folder = job_.config().checkpoint.save;
  if (folder.empty()) return;
  together(job_.world(), [&] {
    if (!job_.is_first_rank()) return;
    try {
      files_.make_folder(folder);
      const std::filesystem::path probe = folder / ".ringtron_can_write";
      const auto file = files_.create(probe);
      file->write(std::as_bytes(std::span("ringtron", 8)));
      file->close();
      files_.remove(probe);
    } catch (const IoError& error) {
      throw IoError(fmt::format("--save: {}. Give a folder that can be made and written", error.what()));
    }
  });
}

void CheckpointSaver::save(const TrainingState& state) {
  const CheckpointConfig& config = job_.config().checkpoint;
  const std::int64_t iteration = state.progress.iteration;
  if (job_.is_first_rank()) {
    print_line("saving checkpoint at iteration {:7d} to {} in ringtron format", iteration, config.save);
  }
  CheckpointWriter writer(files_, config.save, iteration);
  try {
    together(job_.world(), [&] {
      if (!job_.is_first_rank()) return;
      if (!lease_) lease_ = std::make_unique<SaveLease>(config.save);
      writer.prepare(*lease_);
    });
    std::string part;
    together(job_.world(),
             [&] { part = writer.write_shard(job_.rank(), slices_to_write(job_, state).slices); });
    const auto parts = gather_texts(job_.world(), part);
    together(job_.world(), [&] {
      if (job_.is_first_rank()) writer.publish(parts, metadata_of(job_, state));
    });
  } catch (const CommError&) {
    throw;
  } catch (...) {
    if (job_.is_first_rank()) writer.abandon();
    throw;
  }
  if (job_.is_first_rank()) {
    print_line("  successfully saved checkpoint from iteration {:7d} to {} [ t 1/{}, p 1/1 ]", iteration, config.save,
               job_.parallel().tp_size());
  }
}

}  // namespace ringtron

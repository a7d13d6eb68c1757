#include "ringtron/train/checkpoint_saver.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/checkpoint/checkpoint_finder.h"
#include "ringtron/checkpoint/checkpoint_names.h"
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
    case at::kHalf:
      return DType::f16;
    default:
      break;
  }
  RT_CHECK(false, "no such type in a checkpoint: {}", c10::toString(tensor.scalar_type()));
}

// A copy on the host. With `staging`: in memory of its own, since the tensor changes while it is written, and which is
// used again at the next save; of a GPU's tensor such that the copy runs at full speed.
at::Tensor on_host(const at::Tensor& flat, at::Tensor* staging) {
  if (staging == nullptr) return flat.cpu();
  if (!staging->defined() || staging->scalar_type() != flat.scalar_type() || staging->numel() != flat.numel()) {
    *staging = at::empty(flat.sizes(),
                         at::TensorOptions().dtype(flat.scalar_type()).device(at::kCPU).pinned_memory(flat.is_cuda()));
  }
  staging->copy_(flat);
  return *staging;
}

// Slices to be written, with the host copies that they borrow.
struct HostSlices {
  std::vector<at::Tensor>* staging = nullptr;  // of a save beside training
  std::vector<at::Tensor> copies = {};
  std::vector<TensorSlice> slices = {};

  // `part`: the elements that `s` names of a tensor.
  void add(const std::string& name, const OptimizerState& s, const at::Tensor& part, const Job& job) {
    const at::Tensor flat = part.detach().reshape(-1);
    for (const OwnedSlab& owned : owned_slabs(s, job)) {
      if (staging != nullptr && staging->size() == copies.size()) staging->emplace_back();
      copies.push_back(on_host(flat.narrow(0, owned.state_offset, owned.range.size()),
                               staging == nullptr ? nullptr : &(*staging)[copies.size()]));
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

HostSlices slices_to_write(const Job& job, const TrainingState& state, std::vector<at::Tensor>* staging) {
  HostSlices out{.staging = staging};
  const bool with_optimizer = !job.config()->checkpoint.no_save_optim;
  for (const OptimizerState* s : states_to_write(job, state)) {
    const Parameter& parameter = *s->parameter;
    if (parameter.is_copy || (!parameter.is_sharded() && job.parallel().tp_rank() != 0)) continue;
    out.add("model." + parameter.name, *s, s->part_of(parameter.value.detach()), job);
    if (!with_optimizer) continue;
    if (s->has_own_main()) out.add("optimizer.main." + parameter.name, *s, s->main(), job);
    const auto moments = s->rule->moments();
    for (std::size_t i = 0; i < moments.size(); ++i)
      out.add(fmt::format("optimizer.{}.{}", moments[i], parameter.name), *s, s->moment(i), job);
  }
  return out;
}

// Of tensors. Collective.
double bytes_of_all_ranks(const Job& job, const std::vector<TensorSlice>& slices) {
  std::int64_t own = 0;
  for (const TensorSlice& slice : slices) own += std::ssize(slice.bytes);
  at::Tensor sum = at::full({1}, own, at::kLong);
  job.world().all_reduce(sum).wait();
  return static_cast<double>(sum.item<std::int64_t>());
}

// Memory that is not there is a matter of the machine, as a full disk is.
template <class Action>
auto with_memory(Action action) {
  try {
    return action();
  } catch (const std::bad_alloc&) {
    throw IoError("not enough memory for this rank's part of the checkpoint");
  } catch (const c10::Error& error) {
    throw IoError(fmt::format("no copy of this rank's part of the checkpoint: {}", error.what_without_backtrace()));
  }
}

// Bytes that a checkpoint takes for each element of a parameter.
std::uint64_t stored_width(const Parameter& parameter, const Optimizer& optimizer, bool with_optimizer) {
  const std::uint64_t weight = parameter.value.element_size();
  const std::uint64_t of_state = std::max<std::uint64_t>(weight, sizeof(float));
  if (!with_optimizer) return weight;
  // Moments, and of 16 bits the main weight.
  return weight + (optimizer.moments_of(parameter).size() + (weight < of_state ? 1 : 0)) * of_state;
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
    whole += stored_width(*p, state.optimizer, with_optimizer) *
             static_cast<std::uint64_t>(element_count(logical_shape(*p)).value_or(0));
  }
  for (const OptimizerState* s : states_to_write(job_, state))
    own +=
        stored_width(*s->parameter, state.optimizer, with_optimizer) * static_cast<std::uint64_t>(s->elements.size());
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

struct CheckpointSaver::UnderWay {
  CheckpointWriter writer;
  std::int64_t iteration;
  Lineage lineage = {};          // on rank 0
  nlohmann::json metadata = {};  // on rank 0
  SteadyClock::time_point begun = SteadyClock::now();
  double waited = 0.0;  // seconds that training waited for copies; finish() adds its own
  HostSlices slices = {};
  std::future<std::string> part = {};  // last, so that its thread ends before what it uses goes
};

CheckpointSaver::CheckpointSaver(const Job& job) : job_(job), files_(disk_) {}
CheckpointSaver::CheckpointSaver(const Job& job, FileSystem& files) : job_(job), files_(files) {}
CheckpointSaver::~CheckpointSaver() = default;

std::int64_t CheckpointSaver::iteration_under_way() const {
  RT_CHECK(under_way_ != nullptr, "no save is under way");
  return under_way_->iteration;
}

void CheckpointSaver::save(const TrainingState& state) {
  start(state, /*beside_training=*/false);
  finish();
}

void CheckpointSaver::begin(const TrainingState& state) { start(state, /*beside_training=*/true); }

void CheckpointSaver::start(const TrainingState& state, bool beside_training) {
  RT_CHECK(under_way_ == nullptr, "a save begins while that of iteration {} is under way", under_way_->iteration);
  await_values(state.store.all());
  const CheckpointConfig& config = job_.config()->checkpoint;
  const std::int64_t iteration = state.progress.iteration;
  if (job_.is_first_rank()) {
    print_line("saving checkpoint at iteration {:7d} to {} in ringtron format{}", iteration, config.save,
               beside_training ? ", while training goes on" : "");
  }
  under_way_.reset(new UnderWay{.writer = CheckpointWriter(files_, config.save, iteration), .iteration = iteration});
  UnderWay& save = *under_way_;
  try {
    std::string name;
    run_collectively(job_.world(), [&] {
      if (!job_.is_first_rank()) return;
      if (!lease_ || !lease_->is_held()) lease_ = std::make_unique<SaveLease>(config.save);
      name = save.writer.prepare(*lease_);
      save.lineage = {run_, save_number_ > 0 ? save_number_ + 1 : next_save_number(config.save), state.line};
      save.metadata = run_metadata_of(state, {{kVocabularyKey, job_.tokenizer().description()}}, save.lineage);
    });
    save.writer.write_into(gather_texts(job_.world(), name)[0]);
    run_collectively(job_.world(), [&] {
      with_memory([&] { save.slices = slices_to_write(job_, state, beside_training ? &staging_ : nullptr); });
      const auto write = [&save, rank = job_.rank()] {
        return with_memory([&] { return save.writer.write_shard(rank, save.slices.slices); });
      };
      save.part = std::async(beside_training ? std::launch::async : std::launch::deferred, write);
    });
  } catch (const CommError&) {
    throw;
  } catch (...) {
    abandon();
    throw;
  }
  save.waited = seconds_since(save.begun);
}

bool CheckpointSaver::has_been_written() const {
  const bool own = under_way_->part.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  return agree_max(job_.world(), own ? 0 : 1) == 0;
}

void CheckpointSaver::finish() {
  RT_CHECK(under_way_ != nullptr, "no save is under way");
  UnderWay& save = *under_way_;
  const auto called = SteadyClock::now();
  try {
    std::string part;
    run_collectively(job_.world(), [&] { part = save.part.get(); });
    const auto parts = gather_texts(job_.world(), part);
    run_collectively(job_.world(), [&] {
      if (!job_.is_first_rank()) return;
      save.writer.publish(parts, save.metadata);
      save_number_ = save.lineage.save;
    });
  } catch (const CommError&) {
    throw;
  } catch (...) {
    abandon();
    throw;
  }
  last_save_ = {.kind = TransferRecord::Kind::save,
                .timestamp = local_timestamp(),
                .iteration = save.iteration,
                .seconds = seconds_since(save.begun),
                .bytes = bytes_of_all_ranks(job_, save.slices.slices)};
  if (save.slices.staging != nullptr) last_save_.seconds_waited = save.waited + seconds_since(called);
  if (job_.is_first_rank()) {
    print_line("  successfully saved checkpoint from iteration {:7d} to {} [ t 1/{}, p 1/{} ]", save.iteration,
               job_.config()->checkpoint.save, job_.parallel().tp_size(), job_.parallel().pp_size());
    print_line(format_transfer(last_save_));
    remove_before(save.lineage, save.iteration);
  }
  under_way_.reset();
}

// What a save that failed on any rank has left.
void CheckpointSaver::abandon() {
  if (under_way_->part.valid()) under_way_->part.wait();
  if (job_.is_first_rank()) under_way_->writer.abandon();
  under_way_.reset();
}

// --save-retain-interval: of this run's line the newest checkpoint before `iteration`, which has just been saved,
// unless it is to be kept. Those of other runs and branches are nobody's to remove.
void CheckpointSaver::remove_before(const Lineage& lineage, std::int64_t iteration) {
  const CheckpointConfig& config = job_.config()->checkpoint;
  if (config.save_retain_interval == 0) return;
  try {
    std::optional<CheckpointCandidate> before;
    for (CheckpointCandidate& one : list_checkpoints(config.save)) {
      const bool is_ours = one.problem.empty() && one.lineage && one.iteration < iteration &&
                           lineage.includes(iteration, one.lineage->run, one.iteration);
      if (is_ours && (!before || one.iteration > before->iteration)) before = std::move(one);
    }
    if (!before || before->iteration % config.save_retain_interval == 0) return;
    sweep(files_, before->folder, kManifestName);  // the manifest first: what is left of it is no checkpoint
    print_line("  removed the checkpoint of iteration {} (--save-retain-interval {})", before->iteration,
               config.save_retain_interval);
  } catch (const IoError& e) {
    warn_line("--save-retain-interval: an older checkpoint stays: {}", e.what());
  }
}

}  // namespace ringtron

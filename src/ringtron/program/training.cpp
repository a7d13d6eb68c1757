#include "ringtron/program/training.h"

#include <fmt/format.h>

#include <utility>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/assembly.h"
#include "ringtron/train/batch/batch_loader.h"
#include "ringtron/train/checkpoint_loader.h"
#include "ringtron/train/checkpoint_saver.h"
#include "ringtron/train/memory/memory_check.h"
#include "ringtron/train/signals.h"
#include "ringtron/train/start_up/unfused_operations.h"

namespace ringtron {
namespace {

// A source must be named, and it is the program: nothing reads the mock data that stand for it.
Config with_own_data(Config config) {
  const DataConfig& data = config.data;
  if (data.data_path.empty() && data.train_data_path.empty()) config.data.mock_data = true;
  return config;
}

InitialValues values_of(const Job& job) {
  return job.config()->checkpoint.load.empty() ? InitialValues::drawn : InitialValues::deferred;
}

// Before the model is built.
const Job& looked_at(const Job& job) {
  if (job.is_first_rank() && job.device().is_cuda()) {
    for (const std::string& line : unfused_operations(job.config())) warn_line(line);
  }
  require_memory(job);
  return job;
}

void require_length(const Job& job, const Dataset& dataset) {
  if (dataset.sequence_length() == job.config()->model.seq_length) return;
  throw ConfigError(
      fmt::format("the dataset's samples have {} tokens and one more, --seq-length is {}: expected the same. Give "
                  "--seq-length {}",
                  dataset.sequence_length(), job.config()->model.seq_length, dataset.sequence_length()));
}

}  // namespace

struct Training::Parts {
  Parts(Program& of, const Config& config, TrainingParts given)
      : program(of),
        job(with_own_data(config), of.environment()),
        saver(job),
        assembly(looked_at(job), make_cp_attention, values_of(job), given.make_layer) {
    assembly.step().use_loss(std::move(given.loss));
  }

  DataLoader& data() const {
    if (loader == nullptr)
      throw ConfigError("training has no data: expected Training::read(dataset) before the first step");
    return *loader;
  }

  Program& program;
  const Job job;
  CheckpointSaver saver;
  Assembly assembly;
  std::unique_ptr<DataLoader> loader;
  std::int64_t saved_iteration = 0;
};

Training::Training(Program& program, const Config& config, TrainingParts parts) {
  program.signals_.enter("setting up");
  parts_ = std::make_unique<Parts>(program, config, std::move(parts));
  const Job& job = parts_->job;
  Assembly& assembly = parts_->assembly;
  program.signals_.start_up_begins();
  parts_->saver.require_folder();
  const bool loads = !job.config()->checkpoint.load.empty();
  if (loads && !load_checkpoint(job, assembly.state())) assembly.start_from_initial_values();
  parts_->saved_iteration = iteration();
  const std::int64_t end = iterations_of(job.config());
  parts_->saver.report_other_runs(assembly.state(), end);
  parts_->saver.warn_of_space(assembly.state(), end);
  program.signals_.start_up_is_done();
}

Training::~Training() = default;

const ResolvedConfig& Training::config() const { return parts_->job.config(); }
const ParallelState& Training::parallel() const { return parts_->job.parallel(); }
at::Device Training::device() const { return parts_->job.device(); }
std::int64_t Training::iteration() const { return parts_->assembly.state().progress.iteration; }
std::int64_t Training::consumed_samples() const { return parts_->assembly.state().progress.consumed_train_samples; }
double Training::lr() const { return parts_->assembly.state().schedule.lr(); }

void Training::read(const Dataset& dataset) {
  require_length(parts_->job, dataset);
  parts_->loader.reset();  // its thread, before there is another
  parts_->loader =
      batch_loader({parts_->job, dataset, parts_->assembly.transports()}, Split::train, consumed_samples());
}

bool Training::ready() {
  DataLoader& loader = parts_->data();
  const auto signal = [this] { return std::int64_t{parts_->program.signals_.received()}; };
  const std::int64_t came = parts_->assembly.step().prepare_unless(signal, loader);
  if (came == 0) return true;
  parts_->program.stopped_by_ = static_cast<int>(came);
  if (parts_->job.is_first_rank()) print_line("stopping after receiving {}", signal_name(static_cast<int>(came)));
  return false;
}

StepResult Training::step() { return parts_->assembly.step().run(parts_->data()); }

double Training::evaluate(const Dataset& dataset, std::int64_t global_batches) {
  require_length(parts_->job, dataset);
  const auto loader = batch_loader({parts_->job, dataset, parts_->assembly.transports()}, Split::valid, 0);
  return parts_->assembly.step().evaluate(*loader, global_batches);
}

void Training::save() {
  if (parts_->job.config()->checkpoint.save.empty() || parts_->saved_iteration == iteration()) return;
  parts_->assembly.step().require_finite();  // nothing is kept that a NaN has touched
  parts_->saver.save(parts_->assembly.state());
  parts_->saved_iteration = iteration();
}

void Training::print(std::string_view line) const {
  if (parts_->job.is_last_rank()) print_line(line);
}

}  // namespace ringtron

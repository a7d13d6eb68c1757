#include "ringtron/train/trainer.h"

#include <signal.h>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/optim/gradient_clip.h"
#include "ringtron/train/agreement.h"

namespace ringtron {
namespace {

std::string stamped(const std::string& text) { return fmt::format("[{}] datetime: {} ", text, local_timestamp()); }

}  // namespace

Trainer::Trainer(const Parts& parts, std::int64_t train_iterations)
    : parts_(parts),
      train_iterations_(train_iterations),
      reporter_(parts.job, train_iterations),
      started_(SteadyClock::now()) {}

int Trainer::run() {
  const Job& job = parts_.job;
  const Config& config = job.config();
  TrainingState& state = parts_.state;
  std::string stop;
  if (!config.batch.skip_train && state.progress.iteration < train_iterations_) {
    if (job.is_first_rank()) print_line("training ...");
    if (job.is_first_rank()) print_line(stamped("before the start of training step"));
    const auto loader = parts_.data.loader(Split::train, state.progress.consumed_train_samples);
    while (stop.empty() && state.progress.iteration < train_iterations_) {
      const StepResult result = parts_.step.run(*loader);
      const double lr = state.schedule.lr();  // of the next step: Megatron-LM logs it after its schedule has advanced
      std::optional<double> norm;
      if (config.logging.log_params_norm) {
        norm = parameters_norm(state.store.all(), {job.parallel().model(), job.parallel().tp_rank()}).item<double>();
      }
      if (reporter_.step_done(result, state.progress, lr, norm)) parts_.step.demand_finite();
      if (config.evaluation.eval_iters > 0 && state.progress.iteration % config.evaluation.eval_interval == 0) {
        evaluate(Split::valid, state.progress.consumed_valid_samples,
                 fmt::format("iteration {}", state.progress.iteration));
      }
      stop = reason_to_stop();
      save_if_due(!stop.empty());
    }
    reporter_.write_points();
    if (job.is_first_rank()) print_line(stamped("after training is done"));
    save_if_due(true);
    if (config.logging.log_progress && job.is_first_rank()) {
      print_line("loader wait: {:.3f} s in all", loader->wait_seconds());
    }
  }
  if (!stop.empty()) {
    if (job.is_first_rank()) print_line(stamped(stop));
    return exit_code_;
  }
  if (config.evaluation.eval_iters > 0) {
    const std::string at = fmt::format("iteration {} on ", state.progress.iteration);
    evaluate(Split::valid, state.progress.consumed_valid_samples, at + "validation set");
    evaluate(Split::test, 0, at + "test set");
  }
  return exit_code_;
}

std::string Trainer::reason_to_stop() {
  const BatchConfig& batch = parts_.job.config().batch;
  // One agreement for signal and clock; the largest signal number wins, so all ranks name the same one.
  const bool late = batch.exit_duration_in_mins > 0 && seconds_since(started_) > batch.exit_duration_in_mins * 60.0;
  const std::int64_t agreed = agree_max(parts_.job.world(), signals_.received() * 2 + (late ? 1 : 0));
  const int signal = static_cast<int>(agreed / 2);
  if (signal != 0) {
    exit_code_ = signal == SIGINT ? 128 + SIGINT : kExitOk;
    return fmt::format("exiting program after receiving {}.", signal_name(signal));
  }
  if (agreed % 2 == 1) return fmt::format("exiting program after {} minutes", batch.exit_duration_in_mins);
  const std::int64_t iteration = parts_.state.progress.iteration;
  if (batch.exit_interval > 0 && iteration % batch.exit_interval == 0) {
    return fmt::format("exiting program at iteration {}", iteration);
  }
  return "";
}

void Trainer::save_if_due(bool stopping) {
  const CheckpointConfig& config = parts_.job.config().checkpoint;
  const std::int64_t iteration = parts_.state.progress.iteration;
  if (config.save.empty() || iteration == saved_iteration_) return;
  if (!stopping && iteration % config.save_interval != 0) return;
  parts_.step.demand_finite();  // nothing is kept that a NaN has touched
  parts_.saver.save(parts_.state);
  saved_iteration_ = iteration;
}

void Trainer::evaluate(Split split, std::int64_t first_sample, const std::string& where) {
  if (!parts_.data.has(split)) return;
  const auto loader = parts_.data.loader(split, first_sample);
  const double loss = parts_.step.evaluate(*loader, parts_.job.config().evaluation.eval_iters);
  reporter_.evaluated(where, loss, parts_.state.progress);
}

}  // namespace ringtron

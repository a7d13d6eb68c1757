#include "ringtron/train/trainer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/optim/gradient_clip.h"
#include "ringtron/train/agreement.h"

namespace ringtron {
namespace {

constexpr int kLastTries = 3;
constexpr std::chrono::seconds kPause{1};

std::string stamped(const std::string& text) { return fmt::format("[{}] datetime: {} ", text, local_timestamp()); }

}  // namespace

Trainer::Trainer(const Parts& parts, std::int64_t train_iterations)
    : parts_(parts),
      train_iterations_(train_iterations),
      first_iteration_(parts.state.progress.iteration),
      reporter_(parts.job, train_iterations, parts.state.progress, parts.step.timers()),
      profiler_(parts.job),
      save_schedule_(parts.job.config()->checkpoint.save.empty() ? 0 : parts.job.config()->checkpoint.save_interval,
                     first_iteration_),
      started_(SteadyClock::now()) {
  if (parts.loaded) reporter_.transferred(*parts.loaded);
}

int Trainer::run() {
  const Job& job = parts_.job;
  const Config& config = job.config();
  const std::int64_t& iteration = parts_.state.progress.iteration;
  parts_.data.report_evaluation(parts_.state.progress.consumed_valid_samples, remaining_validation_samples());
  if (!signal_came() && !config.batch.skip_train) {
    if (iteration < train_iterations_) {
      try {
        train();
      } catch (const NumericError&) {  // on all ranks; what is being written was sound
        finish_save(/*wait=*/true);
        throw;
      }
    } else if (job.is_first_rank()) {
      warn_line("nothing to train: the checkpoint is at iteration {}, the run ends at {} ({})", iteration,
                train_iterations_,
                config.batch.train_iters > 0 ? "--train-iters" : "--train-samples / --global-batch-size");
    }
  }
  if (stop_.empty()) evaluate_after_training();
  if (!stop_.empty() && job.is_first_rank()) {
    if (iteration == first_iteration_) {
      print_line("  nothing was trained{}: there is nothing to save",
                 iteration > 0 ? fmt::format(" since the checkpoint of iteration {}", iteration) : "");
    } else if (config.checkpoint.save.empty()) {
      print_line("  nothing is saved: --save was not given");
    }
    print_line(stamped(stop_));
  }
  require_saved();
  return exit_code_;
}

void Trainer::train() {
  const Job& job = parts_.job;
  const Config& config = job.config();
  TrainingState& state = parts_.state;
  if (job.is_first_rank()) {
    const std::string unseen = profiler_.warning(state.progress.iteration, train_iterations_);
    if (!unseen.empty()) warn_line(unseen);
    print_line("training ...");
  }
  if (job.is_first_rank()) print_line(stamped("before the start of training step"));
  const auto loader = parts_.data.loader(Split::train, state.progress.consumed_train_samples);
  prepare_or_stop(*loader);
  while (stop_.empty() && state.progress.iteration < train_iterations_) {
    if (profiler_.acts_at(state.progress.iteration)) {
      const Reporter::Pause pause(reporter_);
      profiler_.at(state.progress.iteration);
    }
    make_step(*loader);
    if (evaluates_after(state.progress.iteration)) evaluate_between_steps();
    if (stop_.empty()) prepare_or_stop(*loader);
    if (stop_.empty() && state.progress.iteration < train_iterations_) save_if_due();
  }
  reporter_.catch_up();
  parts_.step.require_finite();
  profiler_.stop(state.progress.iteration);
  await_values(state.store.all());  // while all ranks are still there
  save_at_exit();
  reporter_.write_points();
  if (job.is_first_rank()) print_line(stamped("after training is done"));
  if (config.logging.log_progress && job.is_first_rank()) {
    print_line("loader wait: {:.3f} s in all", loader->wait_seconds());
  }
}

void Trainer::make_step(DataLoader& loader) {
  const Job& job = parts_.job;
  const Config& config = job.config();
  TrainingState& state = parts_.state;
  if (std::ranges::count(config.batch.iterations_to_skip, state.progress.iteration + 1) > 0) {
    const std::int64_t samples = parts_.step.skip(loader);
    reporter_.step_skipped(samples, state.progress);
    return;
  }
  const StepResult result = parts_.step.run(loader);
  const LearningRates rates =
      state.schedule.rates();  // of the next step: Megatron-LM logs it after its schedule has advanced
  std::optional<double> norm;
  if (config.logging.log_params_norm) {
    norm = parameters_norm(state.store.all(), {job.parallel().model(), job.parallel().tp_rank()}).item<double>();
  }
  if (!reporter_.step_done(result, state.progress, rates, norm)) parts_.step.require_finite();
  if (state.progress.iteration == first_iteration_ + 1 && job.is_first_rank()) print_line(parts_.times.line());
}

void Trainer::evaluate_after_training() {
  const Progress& progress = parts_.state.progress;
  const Config& config = parts_.job.config();
  if (!config.evaluation.is_on()) return;  // with --skip-train said at the start (config/resolve.cpp)
  if (config.batch.skip_train && !parts_.data.has(Split::valid) && !parts_.data.has(Split::test) &&
      parts_.job.is_first_rank()) {
    warn_line("nothing to do: --skip-train was given, and the data has no validation and no test part ({})",
              config.data.data_path.empty() ? "--valid-data-path, --test-data-path" : "--split");
  }
  const std::string at = fmt::format("iteration {} on ", progress.iteration);
  if (evaluate(Evaluated::final_validation, progress.consumed_valid_samples, at + "validation set")) {
    evaluate(Evaluated::test, 0, at + "test set");
  }
}

bool Trainer::evaluates_after(std::int64_t iteration) const {
  const EvaluationConfig& evaluation = parts_.job.config()->evaluation;
  return evaluation.is_on() && iteration % evaluation.eval_interval == 0 && iteration >= evaluation.start_eval_at_iter;
}

// The samples count as consumed also if a signal ends it, so that a resumed run evaluates what the unbroken one does.
// All sets are read from the same number on.
void Trainer::evaluate_between_steps() {
  Progress& progress = parts_.state.progress;
  const EvaluationConfig& evaluation = parts_.job.config()->evaluation;
  const std::int64_t first = progress.consumed_valid_samples;
  if (!evaluation.full_validation) {
    progress.consumed_valid_samples += evaluation.eval_iters * evaluation.eval_global_batch_size;
  }
  evaluate(Evaluated::validation, first, fmt::format("iteration {}", progress.iteration));
}

bool Trainer::evaluate(Evaluated what, std::int64_t first_sample, const std::string& where) {
  const Reporter::Pause pause(reporter_);
  profiler_.stop(parts_.state.progress.iteration);
  const Split split = what == Evaluated::test ? Split::test : Split::valid;
  for (int set = 0; set < parts_.data.sets(split); ++set) {
    if (parts_.data.has(split, set) && !evaluate_set(what, set, first_sample, where)) return false;
  }
  return true;
}

bool Trainer::evaluate_set(Evaluated what, int set, std::int64_t first_sample, const std::string& where) {
  const Split split = what == Evaluated::test ? Split::test : Split::valid;
  const EvaluationConfig& evaluation = parts_.job.config()->evaluation;
  const bool all = evaluation.full_validation && split == Split::valid;
  const auto loader = parts_.data.loader(split, all ? 0 : first_sample, set);
  TrainStep::Evaluation result;
  reading([&] {
    result = parts_.step.evaluate_unless(
        [this] { return parts_.signals.received(); }, *loader,
        all ? parts_.data.samples(split, set) : evaluation.eval_iters * evaluation.eval_global_batch_size);
  });
  const bool stopped = stop_for(static_cast<int>(result.reason));
  if (!stopped) {
    reporter_.evaluated({what, parts_.data.set_name(split, set)}, where, result.loss, parts_.state.progress);
  } else if (parts_.job.is_first_rank()) {
    print_line("  the evaluation at {} was not finished", where);
  }
  return !stopped;
}

void Trainer::reading(const std::function<void()>& action) {
  const auto keep = [&] {
    const std::int64_t iteration = parts_.state.progress.iteration;
    if (iteration == first_iteration_ || !save_schedule_.is_unsaved(iteration)) return;
    if (parts_.job.is_first_rank())
      warn_line("the data cannot be read; iteration {} is saved before the run ends", iteration);
    save_at_exit();
  };
  try {
    action();
  } catch (const ConfigError&) {
    keep();
    throw;
  } catch (const IoError&) {
    keep();
    throw;
  }
}

std::int64_t Trainer::remaining_validation_samples() const {
  const Config& config = parts_.job.config();
  const EvaluationConfig& evaluation = config.evaluation;
  const std::int64_t interval = evaluation.eval_interval, iteration = parts_.state.progress.iteration;
  if (evaluation.full_validation) return 0;
  const bool trains = !config.batch.skip_train && iteration < train_iterations_;
  const std::int64_t before = std::max(iteration, evaluation.start_eval_at_iter - 1);
  const std::int64_t between = trains ? std::max<std::int64_t>(0, train_iterations_ / interval - before / interval) : 0;
  return (1 + between) * evaluation.eval_iters * evaluation.eval_global_batch_size;
}

bool Trainer::signal_came() {
  // The largest number wins, so all ranks name the same one.
  return stop_for(static_cast<int>(agree_max(parts_.job.world(), parts_.signals.received())));
}

bool Trainer::stop_for(int signal) {
  if (signal == 0) return false;
  exit_code_ = exit_code_after(signal, parts_.job.config()->batch.exit_with_signal_code);
  stop_ = fmt::format("exiting program after receiving {}.", signal_name(signal));
  return true;
}

void Trainer::prepare_or_stop(DataLoader& loader) {
  const BatchConfig& batch = parts_.job.config()->batch;
  const std::int64_t iteration = parts_.state.progress.iteration;
  const bool has_trained = iteration > first_iteration_;  // clock and interval let a run make one step at least
  const auto reason = [&] {
    const bool late =
        has_trained && batch.exit_duration_in_mins > 0 && seconds_since(started_) > batch.exit_duration_in_mins * 60.0;
    return std::int64_t{parts_.signals.received()} * 2 + (late ? 1 : 0);
  };
  const bool at_interval = has_trained && batch.exit_interval > 0 && iteration % batch.exit_interval == 0;
  std::int64_t agreed = 0;
  if (at_interval || iteration == train_iterations_) {
    agreed =
        agree_max(parts_.job.world(), reason());  // no step follows: whether there is data for it is nobody's concern
  } else {
    reading([&] { agreed = parts_.step.prepare_unless(reason, loader); });
  }
  if (stop_for(static_cast<int>(agreed / 2))) return;
  if (agreed % 2 == 1) {
    stop_ = fmt::format("exiting program after {} minutes", batch.exit_duration_in_mins);
  } else if (at_interval) {
    stop_ = fmt::format("exiting program at iteration {}", iteration);
  }
}

void Trainer::save_if_due() {
  finish_save(/*wait=*/false);
  const std::int64_t iteration = parts_.state.progress.iteration;
  if (!save_schedule_.is_due(iteration)) return;
  if (parts_.job.config()->checkpoint.async_save) {
    begin_save();
  } else if (!try_to_save()) {
    warn_of_failed_save(iteration);
  }
  reporter_.set_remark(save_schedule_.remark());
  signal_came();  // a save may take long
}

void Trainer::warn_of_failed_save(std::int64_t iteration) const {
  if (!parts_.job.is_first_rank()) return;
  warn_line("the save at iteration {} failed: {}. Training goes on and tries again at iteration {}", iteration,
            save_problem_, std::min(save_schedule_.next_try(), train_iterations_));
}

// The copies of one save are held at a time: a save that is due earlier than the last has been written waits for it.
void Trainer::begin_save() {
  finish_save(/*wait=*/true);
  const Reporter::Pause pause(reporter_);
  profiler_.stop(parts_.state.progress.iteration);
  parts_.step.require_finite();
  parts_.step.settle();
  const std::int64_t iteration = parts_.state.progress.iteration;
  if (attempt([&] { parts_.saver.begin(parts_.state); })) {
    save_schedule_.begun(iteration);
  } else {
    save_schedule_.failed(iteration);
    warn_of_failed_save(iteration);
  }
}

void Trainer::finish_save(bool wait) {
  CheckpointSaver& saver = parts_.saver;
  if (!saver.is_under_way() || (!wait && !saver.has_been_written())) return;
  const Reporter::Pause pause(reporter_);
  const std::int64_t iteration = saver.iteration_under_way();
  if (attempt([&] { saver.finish(); })) {
    save_schedule_.saved(iteration);
    reporter_.transferred(saver.last_save());
  } else {
    save_schedule_.failed(parts_.state.progress.iteration);
    warn_of_failed_save(iteration);
  }
  reporter_.set_remark(save_schedule_.remark());
}

void Trainer::save_at_exit() {
  finish_save(/*wait=*/true);
  const std::int64_t iteration = parts_.state.progress.iteration;
  for (int tries = 1; tries <= kLastTries && save_schedule_.is_unsaved(iteration) && !try_to_save(); ++tries) {
    if (parts_.job.is_first_rank()) {
      warn_line("the save at iteration {} failed, try {} of {}: {}", iteration, tries, kLastTries, save_problem_);
    }
    if (tries < kLastTries) std::this_thread::sleep_for(kPause);
  }
}

bool Trainer::try_to_save() {
  const Reporter::Pause pause(reporter_);
  profiler_.stop(parts_.state.progress.iteration);
  parts_.step.require_finite();  // nothing is kept that a NaN has touched
  parts_.step.settle();
  const std::int64_t iteration = parts_.state.progress.iteration;
  const bool is_saved = attempt([&] { parts_.saver.save(parts_.state); });
  if (is_saved) {
    save_schedule_.saved(iteration);
    reporter_.transferred(parts_.saver.last_save());
  } else {
    save_schedule_.failed(iteration);
  }
  return is_saved;
}

// What a machine or another run does wrong (disk full, a limit on files, no memory for host copies, the folder taken
// over) is worth another try.
bool Trainer::attempt(const std::function<void()>& action) {
  save_problem_.clear();
  try {
    action();
  } catch (const IoError& e) {
    save_problem_ = e.what();
  } catch (const ConfigError& e) {
    save_problem_ = e.what();
  }
  return save_problem_.empty();
}

void Trainer::require_saved() {
  const std::int64_t iteration = parts_.state.progress.iteration;
  if (iteration == first_iteration_ || !save_schedule_.is_unsaved(iteration)) return;
  if (try_to_save()) return;  // the evaluation has taken its time: perhaps there is space now
  run_collectively(parts_.job.world(), [&] {
    if (!parts_.job.is_first_rank()) return;
    throw IoError(fmt::format("iterations {} to {} are lost: the last save failed ({}). {}",
                              save_schedule_.saved_iteration() + 1, iteration, save_problem_,
                              parts_.saver.resume_advice()));
  });
}

}  // namespace ringtron

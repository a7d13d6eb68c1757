// The training loop: step, log, evaluate, save, stop.
#pragma once

#include <functional>
#include <optional>

#include "ringtron/base/clock.h"
#include "ringtron/train/checkpoint_saver.h"
#include "ringtron/train/job.h"
#include "ringtron/train/profile/step_profiler.h"
#include "ringtron/train/report/reporter.h"
#include "ringtron/train/save_schedule.h"
#include "ringtron/train/signals.h"
#include "ringtron/train/start_up/start_times.h"
#include "ringtron/train/train_step.h"
#include "ringtron/train/training_data.h"

namespace ringtron {

class Trainer {
 public:
  struct Parts {
    const Job& job;
    const TrainingData& data;
    TrainingState& state;
    TrainStep& step;
    CheckpointSaver& saver;
    StopSignals& signals;
    const StartTimes& times;
    std::optional<TransferRecord> loaded;  // what the run goes on from, for the log
  };
  Trainer(const Parts& parts, std::int64_t train_iterations);

  // Runs to the end, to an exit interval, or until a signal or the clock says so; saves as the flags ask. A save that
  // fails does not end it: it is tried again, every log line says so, and only what cannot be saved at the end is given
  // up. Returns the process's exit code, the same on all ranks. Throws, on all ranks, NumericError when a loss or a
  // gradient was not finite: on a CPU at once, on a GPU at the next log line or save (the weights are not touched, and
  // nothing is saved); IoError when the run is over and its last steps could not be saved; ConfigError or IoError when
  // a rank cannot read its data: then the last complete step is saved first.
  int run();

 private:
  void train();
  void make_step(DataLoader& loader);  // or skips it
  void evaluate_between_steps();
  void evaluate_after_training();
  // Runs `action`, which reads data. What it throws on all ranks ends the run, but not before the steps so far are
  // saved.
  void reading(const std::function<void()>& action);
  // Samples of each validation set that the rest of the run reads at most; 0 where it reads all of them each time.
  std::int64_t remaining_validation_samples() const;
  // False: a signal came, and stop_ says so. Collective.
  bool evaluate(Evaluated what, std::int64_t first_sample, const std::string& where);
  bool evaluate_set(Evaluated what, int set, std::int64_t first_sample, const std::string& where);
  bool evaluates_after(std::int64_t iteration) const;
  // Whether any rank has a signal; then stop_ says so. Collective.
  bool signal_came();
  bool stop_for(int signal);
  // Before the first step and after each: waits for the data of the next one, or sets stop_ if a signal, the clock or
  // --exit-interval says that there is none. One agreement for all of it. Collective.
  void prepare_or_stop(DataLoader& loader);
  void save_if_due();
  void begin_save();
  void warn_of_failed_save(std::int64_t iteration) const;
  // Publishes a save that is under way, if all ranks have written it, or when they have. Collective.
  void finish_save(bool wait);
  // Runs `action`, a part of a save; false if it failed, and save_problem_ says why.
  bool attempt(const std::function<void()>& action);
  // Some tries with pauses; for the end of the run.
  void save_at_exit();
  bool try_to_save();
  void require_saved();

  Parts parts_;
  std::int64_t train_iterations_;
  std::int64_t first_iteration_;  // done before this run
  Reporter reporter_;
  StepProfiler profiler_;
  SaveSchedule save_schedule_;
  std::string save_problem_;  // of the last try
  SteadyClock::time_point started_;
  std::string stop_;  // why the run ends early; the same on all ranks
  int exit_code_ = 0;
};

}  // namespace ringtron

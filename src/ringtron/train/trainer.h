// The training loop: step, log, evaluate, save, stop.
#pragma once

#include "ringtron/base/clock.h"
#include "ringtron/train/checkpoint_saver.h"
#include "ringtron/train/job.h"
#include "ringtron/train/reporter.h"
#include "ringtron/train/signals.h"
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
  };
  Trainer(const Parts& parts, std::int64_t train_iterations);

  // Runs to the end, to an exit interval, or until a signal or the clock says so; saves as the flags ask. Returns the
  // process's exit code, the same on all ranks. Throws NumericError, on all ranks, when a loss or a gradient was not finite:
  // on a CPU at once, on a GPU at the next log line or save. The weights are not touched, and nothing is saved.
  int run();

 private:
  // Why the run stops after this iteration; empty: it goes on. Collective.
  std::string reason_to_stop();
  void evaluate(Split split, std::int64_t first_sample, const std::string& where);
  void save_if_due(bool stopping);

  Parts parts_;
  std::int64_t train_iterations_;
  Reporter reporter_;
  StopSignals signals_;
  SteadyClock::time_point started_;
  std::int64_t saved_iteration_ = -1;
  int exit_code_ = 0;
};

}  // namespace ringtron

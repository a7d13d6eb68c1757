// The times of a step's parts since the last log line, of all ranks.
#pragma once

#include <string>
#include <vector>

#include "ringtron/telemetry/timers.h"
#include "ringtron/train/job.h"
#include "ringtron/train/report/step_timers.h"

namespace ringtron {

class TimerReport {
 public:
  explicit TimerReport(const Job& job) : job_(job) {}

  // The means over `steps` steps of all that has been added since begin_interval(), `cut` included; none with
  // --timing-log-level 0. The same on all ranks. Collective.
  std::vector<PartTimes> add(StepTimers::Cut cut, double steps);
  void begin_interval() { sums_ = {}; }

  // As --timing-log-option says; empty if there is nothing to tell.
  std::string text(const std::vector<PartTimes>& parts) const;

 private:
  const Job& job_;
  StepTimes sums_{};
};

}  // namespace ringtron

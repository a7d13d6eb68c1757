// --profile: LibTorch's profiler (Kineto) over some steps, and the table of where their time went.
#pragma once

#include <cstdint>

#include "ringtron/base/clock.h"
#include "ringtron/train/job.h"

namespace ringtron {

// Does nothing on a rank that is not profiled. The steps in question wait for the device at both ends of the window,
// and each kernel costs the host more while it is measured.
class StepProfiler {
 public:
  explicit StepProfiler(const Job& job);
  ~StepProfiler();
  StepProfiler(const StepProfiler&) = delete;
  StepProfiler& operator=(const StepProfiler&) = delete;

  // Before the step that follows `iteration` steps, counted over the whole training: begins the window, or ends it and
  // prints. Call it once more when training is over.
  void at(std::int64_t iteration, bool training_is_over = false);

 private:
  void begin(std::int64_t iteration);
  void end(std::int64_t iteration);

  const Job& job_;
  bool takes_part_, runs_ = false;
  std::int64_t first_ = 0;
  SteadyClock::time_point began_;
};

}  // namespace ringtron

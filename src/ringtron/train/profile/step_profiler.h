// --profile: LibTorch's profiler (Kineto) over some steps, and the table of where their time went.
#pragma once

#include <cstdint>
#include <string>

#include "ringtron/base/clock.h"
#include "ringtron/train/job.h"

namespace torch::autograd::profiler {
struct ProfilerResult;
}

namespace ringtron {

// On a rank that is not profiled it only knows when the window begins and ends: all ranks wait for the device at both
// ends, since what they do then they do together. Each kernel costs the host more while it is measured.
class StepProfiler {
 public:
  explicit StepProfiler(const Job& job);
  ~StepProfiler();
  StepProfiler(const StepProfiler&) = delete;
  StepProfiler& operator=(const StepProfiler&) = delete;

  // Whether a window begins or ends there: otherwise the device need not be waited for. The same on all ranks.
  bool acts_at(std::int64_t iteration) const;
  // Before the step that follows `iteration` steps, counted over the whole training: begins the window, once, or ends
  // it and prints.
  void at(std::int64_t iteration);
  // Something else than a step comes, such as an evaluation, or nothing more: a window that is open ends here.
  void stop(std::int64_t iteration);
  // At the start of steps [first, end): a warning where none of them is in the window; empty: fine.
  std::string warning(std::int64_t first, std::int64_t end) const;

 private:
  void begin(std::int64_t iteration);
  void end(std::int64_t iteration);
  void save_trace(torch::autograd::profiler::ProfilerResult& result, const std::string& folder) const;

  const Job& job_;
  bool takes_part_, is_open_ = false, is_done_ = false;
  std::int64_t first_ = 0;
  SteadyClock::time_point began_;
};

}  // namespace ringtron

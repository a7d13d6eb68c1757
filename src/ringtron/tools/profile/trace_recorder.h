// Records what one rank does in one step, as events of a timeline.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/context_parallel/schedule/schedule.h"
#include "ringtron/tools/profile/chrome_trace.h"
#include "ringtron/tools/profile/device_clock.h"
#include "ringtron/tools/profile/layer_bench.h"

namespace ringtron {

// Given to a LayerBench twice: as the observer of its attention and as the Passes of run_once(). Times are
// those of the device, so on a GPU an event begins when the work before it is done, not when it is queued.
class TraceRecorder final : public RunObserver, public LayerBench::Passes {
 public:
  // Exchanges get an event from the start of their messages to the end of the wait for them.
  TraceRecorder(at::Device device, const RankSchedules& schedules);

  void begin(std::string_view what, int step) override;
  void end() override;
  void begin_forward() override;
  void begin_backward() override;

  // After run_once().
  std::vector<TraceEvent> take();

 private:
  struct Interval {
    std::string name;
    bool backward = false;
    int step = -1;
    int lane = 0;
    std::size_t begin = 0, end = 0;  // numbers of marks
  };
  std::size_t mark();
  void begin_pass(const char* name);
  void end_pass();
  void note_messages(const Interval& interval);
  bool communicates(int step) const;

  DeviceClock clock_;
  std::vector<int> forward_, backward_;  // steps with an exchange
  std::size_t marks_ = 0;
  bool recording_ = false, in_backward_ = false;
  std::vector<Interval> open_, done_;
  std::vector<Interval> under_way_;  // messages
};

}  // namespace ringtron

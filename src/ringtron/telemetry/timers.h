// Named stop watches on the host's steady clock. They do not wait for a device; who times a device
// synchronises first.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "ringtron/base/clock.h"

namespace ringtron {

// Accumulates until it is taken. Starting twice or stopping a stopped one is an InternalError. Not
// thread-safe.
class Timers {
 public:
  using Now = std::function<SteadyClock::time_point()>;
  explicit Timers(Now now = SteadyClock::now);

  void start(std::string_view name);
  void stop(std::string_view name);

  // Seconds accumulated so far, the running stretch included; 0 for a name that was never started.
  double seconds(std::string_view name) const;

  // seconds(), and begins again at 0; a running timer runs on.
  double take(std::string_view name);

 private:
  struct Watch {
    SteadyClock::duration total{};
    SteadyClock::time_point since{};
    bool running = false;
  };

  Now now_;
  std::map<std::string, Watch, std::less<>> watches_;
};

// Times one scope: const ScopedTimer timer(timers, "forward-backward");
class ScopedTimer {
 public:
  ScopedTimer(Timers& timers, std::string_view name) : timers_(timers), name_(name) { timers_.start(name_); }
  ~ScopedTimer() { timers_.stop(name_); }
  ScopedTimer(const ScopedTimer&) = delete;
  ScopedTimer& operator=(const ScopedTimer&) = delete;

 private:
  Timers& timers_;
  std::string name_;
};

// One timer over all ranks, for one iteration.
struct TimerRange {
  std::string name;
  double min_milliseconds = 0;
  double max_milliseconds = 0;
};

// Megatron's block of timers, several lines without a final newline.
std::string format_timers(std::span<const TimerRange> ranges);

}  // namespace ringtron

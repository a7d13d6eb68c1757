#include "ringtron/telemetry/timers.h"

#include <fmt/format.h>

#include <utility>

#include "ringtron/base/check.h"

namespace ringtron {

Timers::Timers(Now now) : now_(std::move(now)) {}

void Timers::start(std::string_view name) {
  Watch& watch = watches_[std::string(name)];
  RT_CHECK(!watch.running, "timer {} was started twice", name);
  watch.running = true;
  watch.since = now_();
}

void Timers::stop(std::string_view name) {
  const auto at = watches_.find(name);
  RT_CHECK(at != watches_.end() && at->second.running, "timer {} was stopped and does not run", name);
  at->second.total += now_() - at->second.since;
  at->second.running = false;
}

double Timers::seconds(std::string_view name) const {
  const auto at = watches_.find(name);
  if (at == watches_.end()) return 0;
  auto total = at->second.total;
  if (at->second.running) total += now_() - at->second.since;
  return std::chrono::duration<double>(total).count();
}

double Timers::take(std::string_view name) {
  const auto at = watches_.find(name);
  if (at == watches_.end()) return 0;
  Watch& watch = at->second;
  auto total = std::exchange(watch.total, {});
  if (watch.running) {
    const auto now = now_();
    total += now - std::exchange(watch.since, now);
  }
  return std::chrono::duration<double>(total).count();
}

std::string format_timers(std::span<const TimerRange> ranges) {
  std::string text = "(min, max) time across ranks (ms):";
  for (const TimerRange& range : ranges) {
    text += fmt::format("\n    {:.<48}: ({:.2f}, {:.2f})", range.name + " ", range.min_milliseconds,
                        range.max_milliseconds);
  }
  return text;
}

}  // namespace ringtron

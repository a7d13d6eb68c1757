#include "ringtron/train/start_up/start_times.h"

#include <fmt/format.h>

#include "ringtron/base/process.h"

namespace ringtron {
namespace {

constexpr double kShown = 0.05;

}  // namespace

StartTimes::StartTimes()
    : since_(SteadyClock::now() -
             std::chrono::duration_cast<SteadyClock::duration>(std::chrono::duration<double>(process_age()))) {}

void StartTimes::enter(const char* stage) {
  done_.emplace_back(stage_, seconds_since(since_));
  stage_ = stage;
  since_ = SteadyClock::now();
}

std::string StartTimes::line() const {
  auto stages = done_;
  stages.emplace_back(stage_, seconds_since(since_));
  double sum = 0.0;
  std::string list;
  for (const auto& [stage, seconds] : stages) {
    sum += seconds;
    if (seconds >= kShown) list += fmt::format("{}{} {:.1f}", list.empty() ? ": " : ", ", stage, seconds);
  }
  return fmt::format("start-up took {:.1f} s{}", sum, list);
}

}  // namespace ringtron

#include "ringtron/train/report/timer_report.h"

#include <ATen/ATen.h>

namespace ringtron {

std::vector<PartTimes> TimerReport::add(StepTimers::Cut cut, double steps) {
  const int level = job_.config()->logging.timing_log_level;
  if (level == 0) return {};
  const StepTimes seconds = cut.seconds();
  const int ranks = job_.environment().world_size;
  at::Tensor all = at::zeros({ranks, static_cast<std::int64_t>(kStepParts)}, at::kDouble);
  double* own = all[job_.rank()].data_ptr<double>();
  for (std::size_t i = 0; i < kStepParts; ++i) {
    sums_[i] += seconds[i];
    own[i] = sums_[i] / steps * 1e3;
  }
  job_.world().all_reduce(all).wait();
  std::vector<PartTimes> parts;
  for (std::size_t i = 0; i < kStepParts; ++i) {
    const auto part = static_cast<StepPart>(i);
    if (step_part_level(part) > level) continue;
    PartTimes times{step_part_name(part), {}};
    for (int rank = 0; rank < ranks; ++rank) {
      times.milliseconds.push_back(all[rank][static_cast<std::int64_t>(i)].item<double>());
    }
    parts.push_back(std::move(times));
  }
  return parts;
}

std::string TimerReport::text(const std::vector<PartTimes>& parts) const {
  switch (job_.config()->logging.timing_log_option) {
    case TimingLogOption::max:
      return format_longest_times(parts);
    case TimingLogOption::minmax:
      return format_time_ranges(parts);
    case TimingLogOption::all:
      return format_all_times(parts);
  }
  return {};
}

}  // namespace ringtron

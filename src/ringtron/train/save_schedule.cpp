#include "ringtron/train/save_schedule.h"

#include <fmt/format.h>

#include <algorithm>

namespace ringtron {

bool SaveSchedule::is_due(std::int64_t iteration) const {
  if (!is_unsaved(iteration)) return false;
  return iteration % interval_ == 0 || (failures_ > 0 && iteration >= next_try_);
}

void SaveSchedule::begun(std::int64_t iteration) { next_try_ = (iteration / interval_ + 1) * interval_; }

void SaveSchedule::saved(std::int64_t iteration) {
  saved_ = iteration;
  failures_ = 0;
}

void SaveSchedule::failed(std::int64_t iteration) {
  ++failures_;
  const std::int64_t wait = std::int64_t{1} << std::min<std::int64_t>(failures_ - 1, 30);
  next_try_ = std::min(iteration + std::min(wait, interval_), (iteration / interval_ + 1) * interval_);
}

std::string SaveSchedule::remark() const {
  if (failures_ == 0) return "";
  return fmt::format(" SAVE FAILED {} time{}, not saved since iteration: {} |", failures_, failures_ == 1 ? "" : "s",
                     saved_);
}

}  // namespace ringtron

// When a save is due, and when one that failed is tried again. Counts iterations only, so all ranks agree by
// themselves.
#pragma once

#include <cstdint>
#include <string>

namespace ringtron {

class SaveSchedule {
 public:
  // `interval`: --save-interval, or 0 without --save; `iteration`: where the run begins, which is not its to save.
  SaveSchedule(std::int64_t interval, std::int64_t iteration) : interval_(interval), saved_(iteration) {}

  // At multiples of the interval, and after n failures in a row 2^(n-1) iterations, at most one interval, after the
  // last.
  bool is_due(std::int64_t iteration) const;
  // Whether the state of this iteration would be lost.
  bool is_unsaved(std::int64_t iteration) const { return interval_ > 0 && iteration != saved_; }

  // A save that goes on beside the training: no other is due before it has ended.
  void begun(std::int64_t iteration);
  void saved(std::int64_t iteration);
  void failed(std::int64_t iteration);

  std::int64_t saved_iteration() const { return saved_; }
  std::int64_t next_try() const { return next_try_; }
  // For every log line from the first failure to the next success; else empty.
  std::string remark() const;

 private:
  std::int64_t interval_;
  std::int64_t saved_;
  std::int64_t failures_ = 0;  // in a row
  std::int64_t next_try_ = 0;
};

}  // namespace ringtron

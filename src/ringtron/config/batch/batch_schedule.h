// The global batch size as a function of the samples that a run has consumed: one size, a ramp
// (--rampup-batch-size) or steps (--step-batch-size-schedule). Pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "ringtron/config/config.h"

namespace ringtron {

class BatchSchedule {
 public:
  // From so many consumed samples on, each step takes `batch` sequences, over all ranks.
  struct Part {
    std::int64_t first_sample = 0, batch = 0;
    bool operator==(const Part&) const = default;
  };
  // First samples rise from 0, batches are positive; InternalError otherwise.
  explicit BatchSchedule(std::vector<Part> parts);

  std::span<const Part> parts() const { return parts_; }
  // Of the step that begins with `consumed` samples behind it.
  std::int64_t batch_at(std::int64_t consumed) const;
  std::int64_t smallest() const;
  std::int64_t largest() const;
  // What is consumed `steps` later; all numbers from 0 on.
  std::int64_t samples_after(std::int64_t consumed, std::int64_t steps) const;
  // Steps from the first sample on, as long as `samples` has a whole batch left for the next.
  std::int64_t steps_of(std::int64_t samples) const;

 private:
  std::vector<Part> parts_;
};

// Of flags as given, or filled in; where a size is still to be filled in, or a flag has a fault, a text that says so:
// what was expected, and what was got.
std::variant<BatchSchedule, std::string> try_batch_schedule(const BatchConfig& batch, int seq_length);
// The same. Throws ConfigError with the text.
BatchSchedule batch_schedule(const Config& config);

}  // namespace ringtron

// How far a tool has come in its input, and how long the rest may take.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "ringtron/base/clock.h"
#include "ringtron/tools/input_files.h"

namespace ringtron {

// ", 43% of the input, 0:01:12 left" after `seconds` of reading; the part of the bytes on disk is that of the time.
// Empty where nothing is read yet, or nobody knows how much there is.
std::string progress_text(std::int64_t consumed, std::optional<std::int64_t> total, double seconds);

// One for a run, made when it begins to read.
class InputProgress {
 public:
  explicit InputProgress(std::span<const InputFile> files) : total_(total_bytes(files)) {}

  // For ReadContext::consumed.
  std::atomic<std::int64_t>* consumed() { return &consumed_; }
  std::string text() const { return progress_text(consumed_, total_, seconds_since(start_)); }

 private:
  const std::optional<std::int64_t> total_;
  const SteadyClock::time_point start_ = SteadyClock::now();
  std::atomic<std::int64_t> consumed_ = 0;
};

}  // namespace ringtron

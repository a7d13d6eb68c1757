// A scan's rows in chunks of one length, as tables for ATen. Of the composed scan only.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "ringtron/kernels/scan_segments/scan_segments.h"

namespace ringtron {

// A chunk lies within one segment; the last of a segment is filled up with rows that do not count.
class SsdChunks {
 public:
  SsdChunks(const ScanSegments& segments, std::int64_t chunk, const at::Device& device);

  std::int64_t count() const { return count_; }
  std::int64_t length() const { return length_; }
  const at::Tensor& valid() const { return valid_; }  // bool [count, length]

  // [s, b, ...] to [count, length, ...], zero where a row does not count, and back.
  at::Tensor gather(const at::Tensor& rows) const;
  at::Tensor scatter(const at::Tensor& chunks, const at::Tensor& like) const;

  // States along the chunks of each segment: `added` [count, ...] is what each chunk adds, `log_decay` [count, h] what
  // it does to what passes. Returns what enters each chunk; `at_start`: lines by `initial`, may be undefined (zero).
  at::Tensor enter(const at::Tensor& added, const at::Tensor& log_decay, const at::Tensor& at_start) const;
  // The same from the ends of the segments; `at_end`: lines by `final`.
  at::Tensor enter_reversed(const at::Tensor& added, const at::Tensor& log_decay, const at::Tensor& at_end) const;

  // Int64 [lines]: the first chunk of each segment with an initial line; the last of each with a final line.
  const at::Tensor& first_of_initial() const { return first_of_initial_; }
  const at::Tensor& last_of_final() const { return last_of_final_; }
  // `per_chunk` [count, h], summed over the segments of these chunks.
  at::Tensor segment_sums(const at::Tensor& per_chunk, const at::Tensor& chunks) const;

 private:
  std::int64_t count_ = 0, length_ = 1, segments_ = 0;
  at::Tensor rows_, valid_, place_of_row_, segment_of_chunk_, first_of_initial_, last_of_final_;
  std::vector<at::Tensor> steps_;  // of each step the chunks that are so far from their segment's first, from step 1
};

}  // namespace ringtron

// What the host tells the merge kernel.
#pragma once

#include <cstdint>

#include "ringtron/kernels/device/element_type.h"

namespace ringtron {

struct SoftmaxMergePart {
  void* out;   // [rows, b, n, d], d contiguous
  float* lse;  // [b, n, rows]
  Element type;
  std::int64_t row_stride, sample_stride, head_stride;              // of out, in elements
  std::int64_t lse_sample_stride, lse_head_stride, lse_row_stride;  // in elements
  std::int64_t first_row, rows;                                     // of the whole: what it covers
};

struct SoftmaxMergeParams {
  static constexpr int kMost = 4;
  SoftmaxMergePart whole;
  SoftmaxMergePart parts[kMost];
  int count;
  std::int64_t rows, samples, heads, size;
};

void softmax_merge_cuda(const SoftmaxMergeParams& params, void* stream);

}  // namespace ringtron

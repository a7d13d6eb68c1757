// What the host tells the kernels of the residual sum and its norm.
#pragma once

#include <cstdint>

#include "ringtron/kernels/device/element_type.h"

namespace ringtron {

// Dropout of the branch, as kernels/dropout defines it; threshold 0: none.
struct BranchDropout {
  const std::int64_t* positions;  // [rows / batch]
  const std::int64_t* samples;    // [batch]
  std::int64_t batch;
  std::uint64_t key;
  std::uint32_t threshold;  // kept when word >= threshold
  float scale;              // 1 / (1 - p)
};

struct NormShape {
  static constexpr int kMostWidth = 16384;
  std::int64_t rows;
  int width;  // a multiple of 8, at most kMostWidth
  Element type;
  bool rms;           // else LayerNorm
  bool zero_centred;  // the factor is 1 + weight
};

// Tensors are [rows, width] or [width], contiguous, from addresses that are multiples of 16.
struct NormForwardParams {
  NormShape shape;
  const void *x, *branch;     // branch null: none; x null, with a branch: zeros
  const void *weight, *bias;  // bias null: none
  void* sum;                  // null where there is no branch
  void* normed;               // null: only the sum is wanted
  float *mean, *rstd;         // [rows]; mean null for RMSNorm
  float epsilon;
  BranchDropout dropout;
};

struct NormBackwardParams {
  NormShape shape;
  const void *sum, *weight, *d_normed;
  const void* d_sum;  // null: none
  const float *mean, *rstd;
  void* dx;
  void* d_branch;                    // null: it is dx
  float *weight_parts, *bias_parts;  // [parts, width]; bias null: none
  void *d_weight, *d_bias;           // [width], of the shape's type
  int parts;                         // norm_backward_parts()
  BranchDropout dropout;
};

void norm_forward_cuda(const NormForwardParams& params, void* stream);
// Rows of partial sums that the backward on this device makes, at most one per row of the input.
int norm_backward_parts(const NormShape& shape, int multiprocessors);
void norm_backward_cuda(const NormBackwardParams& params, void* stream);

}  // namespace ringtron

// What the host tells the kernel of AdamW.
#pragma once

#include <cstdint>

#include "ringtron/kernels/device/element_type.h"
#include "ringtron/kernels/device/segments.h"

namespace ringtron {

// From addresses that are multiples of 32 bytes, of `narrow` of 16.
struct AdamwSegment {
  float *main, *exp_avg, *exp_avg_sq;
  const float* gradient;
  void* narrow;  // null: none
  std::int64_t elements;
  std::int64_t first_block;
  Element type;  // of narrow
  float decay;   // lr * weight decay
};

struct AdamwParams {
  Segments<AdamwSegment, 48> tensors;
  float beta1, beta2, eps;
  float step_size;         // lr / (1 - beta1^t)
  float root_correction2;  // sqrt(1 - beta2^t)
  const float* scale;      // of the gradients
  const float* skip;       // null, or 1: nothing changes
};

inline constexpr std::int64_t kAdamwBlock = 8192;  // elements of a block of threads

void adamw_cuda(const AdamwParams& params, void* stream);

}  // namespace ringtron

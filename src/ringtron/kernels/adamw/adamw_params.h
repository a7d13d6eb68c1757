// What the host tells the kernel of AdamW.
#pragma once

#include <cstdint>

#include "ringtron/kernels/device/segments.h"

namespace ringtron {

// From addresses that are multiples of 32 bytes, of halves of 16.
struct AdamwSegment {
  float* main;           // null: it is in the halves (weight_halves.h)
  std::uint16_t* upper;  // bf16
  std::int16_t* lower;
  float *exp_avg, *exp_avg_sq;
  const float* gradient;
  std::int64_t elements;
  std::int64_t first_block;
  float decay;  // lr * weight decay
};

struct AdamwParams {
  Segments<AdamwSegment, 48> tensors;
  float beta1, beta2, eps;
  float rest1, rest2;      // 1 - beta, taken in fp64
  float step_size;         // lr / (1 - beta1^t)
  float root_correction2;  // sqrt(1 - beta2^t)
  const float* scale;      // of the gradients
  const float* skip;       // null, or 1: nothing changes
};

inline constexpr std::int64_t kAdamwBlock = 8192;  // elements of a block of threads

void adamw_cuda(const AdamwParams& params, void* stream);

}  // namespace ringtron

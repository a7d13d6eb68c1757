// What the host tells the kernels that scale to fp16.
#pragma once

#include <cstdint>

#include "ringtron/kernels/device/element_type.h"

namespace ringtron {

struct HalfScaleParams {
  const void* x;
  Element type;
  void* scaled;                // fp16
  std::uint32_t* largest_bits;  // of the magnitudes, as fp32 bits; 0 before
  float* inverse;
  float most;
  std::int64_t elements;
};

void half_scale_cuda(const HalfScaleParams& params, void* stream);

// x: bf16, elements: a multiple of 8.
void to_half_cuda(const void* x, void* half, std::int64_t elements, void* stream);

}  // namespace ringtron

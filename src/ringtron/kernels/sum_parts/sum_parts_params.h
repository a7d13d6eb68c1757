// What the host tells the kernel that adds up parts.
#pragma once

#include <cstdint>

#include "ringtron/kernels/device/element_type.h"

namespace ringtron {

struct SummedPart {
  const void* x;
  Element type;
  std::int64_t begin, end;  // elements of `sum` that it adds to; see offset
  std::int64_t offset;      // element of x that belongs to element `begin` of `sum`
};

struct SumPartsParams {
  static constexpr int kMost = 4;
  SummedPart parts[kMost];
  int count;
  void* sum;
  Element type;
  std::int64_t elements;  // of sum, a multiple of 8
};

void sum_parts_cuda(const SumPartsParams& params, void* stream);

}  // namespace ringtron

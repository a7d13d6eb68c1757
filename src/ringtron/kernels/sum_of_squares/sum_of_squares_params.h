// What the host tells the kernel that sums squares.
#pragma once

#include <cstdint>

#include "ringtron/kernels/device/element_type.h"
#include "ringtron/kernels/device/segments.h"

namespace ringtron {

struct SquaredSegment {
  const void* x;  // from an address that is a multiple of 16
  std::int64_t elements;
  std::int64_t first_block;
  Element type;
};

struct SumOfSquaresParams {
  Segments<SquaredSegment, 96> tensors;
  double* sums;  // [blocks]
};

inline constexpr std::int64_t kSquaresBlock = 32768;  // elements of a block of threads

void sum_of_squares_cuda(const SumOfSquaresParams& params, void* stream);

}  // namespace ringtron

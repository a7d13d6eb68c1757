// Adds up tensors that each cover some rows of a whole, in one pass over memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace ringtron {

struct RowPart {
  at::Tensor x;                // [rows, ...], contiguous
  std::int64_t first_row = 0;  // which row of the whole is its row 0
};

inline constexpr std::size_t kMostSummed = 4;  // parts of one call

// sum[i] = 0 + the rows first_row + i of the parts that have them, in the order given, added in fp32 (fp64 for fp64)
// and rounded once to the type of `sum`. `sum` is contiguous and may be one of the parts, if that has the same first
// row. One fused kernel on a GPU where a row is a multiple of 8 elements, otherwise plain operations.
void sum_parts(at::Tensor& sum, std::int64_t first_row, std::span<const RowPart> parts);

}  // namespace ringtron

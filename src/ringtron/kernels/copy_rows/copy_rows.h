// Many copies between views of attention tensors in one launch: packing heads for other ranks, and putting rows in
// place.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>

namespace ringtron {

// to = from; both [rows, b, heads, d], of one type and device, any strides. Copies of one call do not overlap.
struct RowCopy {
  at::Tensor to, from;
};

// A few launches for all of them on a GPU where (heads, d) are contiguous in multiples of 16 bytes, otherwise one each.
void copy_rows(std::span<const RowCopy> copies);

}  // namespace ringtron

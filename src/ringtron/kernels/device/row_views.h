// Tensors whose rows kernels read where they lie: views of the columns of a wider tensor need no copy.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace ringtron {

// Elements from one row to the next of a tensor whose last `dense` dimensions are the row.
inline std::int64_t distance_of_rows(const at::Tensor& x, std::int64_t dense) {
  for (std::int64_t k = x.dim() - dense - 1; k >= 0; --k) {
    if (x.size(k) != 1) return x.stride(k);
  }
  return x.numel();
}

// Whether rows are equally distant, dense within, and begin at multiples of `elements` elements. The last `dense`
// dimensions are a row.
inline bool has_rows(const at::Tensor& x, std::int64_t elements, std::int64_t dense) {
  const std::int64_t distance = distance_of_rows(x, dense);
  const auto address = reinterpret_cast<std::uintptr_t>(x.const_data_ptr());
  bool fits = distance % elements == 0 && address % static_cast<std::uintptr_t>(elements * x.element_size()) == 0;
  std::int64_t expected = 1;
  for (std::int64_t k = x.dim() - 1; k >= 0; --k) {
    if (k == x.dim() - dense - 1) expected = distance;
    fits = fits && (x.size(k) == 1 || x.stride(k) == expected);
    expected *= x.size(k);
  }
  return fits;
}

// x if it has such rows, else a copy.
inline at::Tensor readable_rows(const at::Tensor& x, std::int64_t elements, std::int64_t dense) {
  return has_rows(x, elements, dense) ? x : x.contiguous();
}

}  // namespace ringtron

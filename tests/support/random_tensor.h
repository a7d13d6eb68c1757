// Tensors of test data: the same numbers for the same key, on every rank and machine.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "ringtron/base/random.h"

namespace ringtron::testing {

// Standard normal fp64 numbers.
inline at::Tensor random_tensor(at::IntArrayRef sizes, std::uint64_t key) {
  at::Tensor out = at::empty(sizes, at::kDouble);
  double* data = out.mutable_data_ptr<double>();
  for (std::int64_t i = 0; i < out.numel(); ++i) data[i] = random_normal(key, 0, i);
  return out;
}

}  // namespace ringtron::testing

// The sum of the squares of all elements of many tensors, on a GPU.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <span>

namespace ringtron {

// fp64, without dims, the same bits in every run; nullopt where the kernel does not take these tensors (a CPU, fp64, an
// odd address). Squares are fp32, summed in fp32 over 32,768 elements, over these in fp64.
std::optional<at::Tensor> sum_of_squares_fused(std::span<const at::Tensor> tensors);

}  // namespace ringtron

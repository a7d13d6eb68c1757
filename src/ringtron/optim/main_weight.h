// Main weights of bf16 parameters as tensors: joined from their halves (kernels/adamw/weight_halves.h), and split.
#pragma once

#include <ATen/core/Tensor.h>

namespace ringtron {

// upper: bf16; lower: int16, of the same shape and device. Returns fp32, a new tensor.
at::Tensor join_halves(const at::Tensor& upper, const at::Tensor& lower);

// Writes the fp32 `main` into both.
void split_into_halves(const at::Tensor& main, const at::Tensor& upper, const at::Tensor& lower);

}  // namespace ringtron

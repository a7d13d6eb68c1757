// AdamW on a GPU in one kernel for many tensors. The formula, the CPU's code and what `skip` means are in optim/adam.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>

#include "ringtron/kernels/adamw/adamw_params.h"

namespace ringtron {

// Contiguous, of one size, on one device; fp32. With `lower` (int16) the main weight is in halves, `main` the bf16 one.
struct AdamwTensors {
  at::Tensor main, gradient, exp_avg, exp_avg_sq;
  at::Tensor lower;
  bool decays = true;
};

struct AdamwNumbers {
  double beta1, beta2, eps;
  double step_size;         // lr / (1 - beta1^t)
  double root_correction2;  // sqrt(1 - beta2^t)
  double decay;             // lr * weight decay, of the tensors that decay
};

// False, and nothing is done: these tensors are not for the kernel (a CPU, fp64, an odd address).
bool adamw_fused(std::span<const AdamwTensors> tensors, const AdamwNumbers& numbers, const at::Tensor& gradient_scale,
                 const at::Tensor& skip);

}  // namespace ringtron

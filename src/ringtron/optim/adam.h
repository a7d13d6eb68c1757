// AdamW on lists of tensors.
//
// With g = gradient * gradient_scale, in the type of `main`:
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   main -= lr * (m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay * main)
// Every element is independent of the others, so the result does not depend on threads, slicing or layout.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace ringtron {

// Four tensors of one shape, type (fp32 or fp64) and device, all contiguous. With `lower` the main weight is in two
// halves (kernels/adamw/weight_halves.h): `main` is the bf16 weight that the model computes with, the rest fp32.
struct AdamTensors {
  at::Tensor main;
  at::Tensor gradient;
  at::Tensor exp_avg;
  at::Tensor exp_avg_sq;
  at::Tensor lower = {};  // int16, of the same shape; undefined: `main` is whole
  bool decays = true;     // whether weight decay counts
};

struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
};

struct AdamStep {
  double lr = 0.0;
  double weight_decay = 0.0;
  std::int64_t step = 1;  // t: 1 in the first step
};

// `gradient_scale` has one element, on the tensors' device; the host does not wait for it on CUDA. `skip`: fp32, one
// element there; 1 leaves main weights and moments as they are; undefined: 0. The gradients hold nothing of use
// afterwards (CUDA scales them in place). All tensors of one call share type and device.
void adamw(std::span<const AdamTensors> tensors, const AdamOptions& options, const AdamStep& step,
           const at::Tensor& gradient_scale, const at::Tensor& skip = {});

}  // namespace ringtron

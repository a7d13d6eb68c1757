// LayerNorm and RMSNorm over the last dim, alone or with the residual sum in front of them. Statistics and sums over
// rows (the gradients of weight and bias) are fp32 for bf16 and fp32 input, fp64 for fp64; each result is rounded to
// the input's type once.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/kernels/dropout/dropout.h"

namespace ringtron {

// x: [..., h]; weight, bias: [h], bias may be undefined. With `zero_centred` the factor is 1 + weight (Megatron's
// --apply-layernorm-1p).
at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double epsilon,
                      bool zero_centred);
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon, bool zero_centred);

struct NormWeights {
  at::Tensor weight, bias;  // [h]; bias of LayerNorm only, or undefined
  double epsilon = 1e-5;
  bool zero_centred = false;
  bool rms = false;
};

// Dropout of a branch (kernels/dropout); p 0: none, and nothing else is read.
struct BranchDropoutOptions {
  double p = 0.0;
  std::uint64_t key = 0;
  DropoutRegion region = {};
};

// Both keep one tensor of x's shape for the backward, the sum, which the residual stream keeps anyway, and the rows'
// statistics.
struct ResidualNorm {
  at::Tensor sum;     // x + dropout(branch)
  at::Tensor normed;  // norm of the (rounded) sum
};

// x, branch: [s, b, h]. An undefined branch is 0: `sum` is x. On a GPU one kernel forward, and one backward that adds
// the gradients of both results, where h is a multiple of 8 up to 16,384 and the type is not fp64; else composed of the
// functions above and of dropout(), the truth that the kernels are compared with.
ResidualNorm residual_norm(const at::Tensor& x, const at::Tensor& branch, const NormWeights& norm,
                           const BranchDropoutOptions& dropout = {});

// x + dropout(branch), by the same kernel.
at::Tensor residual_sum(const at::Tensor& x, const at::Tensor& branch, const BranchDropoutOptions& dropout = {});

}  // namespace ringtron

// LayerNorm and RMSNorm over the last dim. Statistics and sums over rows (the gradients of weight and bias) are fp32 for bf16 and
// fp32 input, fp64 for fp64; each result is rounded to the input's type once.
#pragma once

#include <ATen/core/Tensor.h>

namespace ringtron {

// x: [..., h]; weight, bias: [h], bias may be undefined. With `zero_centred` the factor is 1 + weight (Megatron's
// --apply-layernorm-1p).
at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double epsilon,
                      bool zero_centred);
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon, bool zero_centred);

}  // namespace ringtron

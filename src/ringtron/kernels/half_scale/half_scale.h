// Tensors as fp16 that lose nothing to its narrow range: multiplied by a power of two first.
//
// fp16 has three more bits than bf16 and the same speed, so attention blocks computed in it carry about eight times
// smaller errors; its range is narrow, and gradients may be tiny or huge. The power is found on the device; the host
// does not wait for it.
#pragma once

#include <ATen/core/Tensor.h>

namespace ringtron {

struct HalfScaled {
  at::Tensor x;        // fp16: the input times 2^k
  at::Tensor inverse;  // fp32 [1], on the same device: 2^-k
};

// k is such that the largest magnitude lies in (most / 2, most]; 0 for an input of zeros. An input that holds inf or NaN
// keeps it. x: contiguous, fp32 or bf16; `most`: at most 65504.
HalfScaled scale_to_half(const at::Tensor& x, double most);

// The same numbers in fp16, unscaled: magnitudes above 65504 become inf. A tensor that is fp16 comes back as it is.
at::Tensor to_half(const at::Tensor& x);

}  // namespace ringtron

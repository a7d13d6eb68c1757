// The gated norm at the end of a Mamba layer: RMSNorm of y * silu(z), over groups of channels.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "ringtron/kernels/device/joined_gradient.h"

namespace ringtron {

// y, z: [..., channels] of one type; weight: [channels]; `group`: channels that are normed together, a divisor of them.
// With u = y * silu(z): u / sqrt(mean of u^2 over the group + epsilon) * weight. Inside fp32 (fp64 for fp64), rounded
// once to y's type. With autograd; only the inputs are kept for the backward.
// `place_of_z`: where z's gradient may be written.
at::Tensor gated_rms_norm(const at::Tensor& y, const at::Tensor& z, const at::Tensor& weight, std::int64_t group,
                          double epsilon, const GradientPlace& place_of_z = {});

}  // namespace ringtron

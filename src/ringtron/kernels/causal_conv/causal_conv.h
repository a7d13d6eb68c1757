// Causal convolution along the sequence, each channel by itself, then SiLU: what a Mamba layer does to x, B and C.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "ringtron/kernels/device/joined_gradient.h"
#include "ringtron/kernels/scan_segments/scan_segments.h"

namespace ringtron {

// y[i] = silu(bias + sum over k < width of weight[k] * x[i - (width - 1) + k]), within a segment.
//
// x: [s, b, channels], rows as `segments` says; weight: [channels, 1, width]; bias: [channels]; halo: [initials of the
// segments, width - 1, channels], the rows before a segment that continues a document, the nearest last, zero where the
// document has fewer; empty where no segment continues one. What is before the beginning of a document is zero.
// Returns [s, b, channels] in x's type, with autograd for all four; sums are fp32 (fp64 for fp64), rounded once. Only
// the inputs are kept for the backward. `place_of_x`: where x's gradient may be written.
at::Tensor causal_conv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& halo,
                       const std::shared_ptr<const ScanSegments>& segments, const GradientPlace& place_of_x = {});

}  // namespace ringtron

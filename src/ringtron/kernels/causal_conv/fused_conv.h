// The causal convolution by kernels of its own (causal_conv_params.h), between tensors and pointers.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/kernels/scan_segments/scan_segments.h"

namespace ringtron::fused {

struct ConvInputs {
  at::Tensor x, weight, bias, halo;  // as causal_conv() says, of one type that kernels know
};

struct ConvGradients {
  at::Tensor x, weight, bias, halo;
};

// Whether the kernels take these widths; types and devices are for fused_on_gpu() to say.
bool conv_fits(const ConvInputs& in);

at::Tensor conv(const ConvInputs& in, const ScanSegments& segments, void* stream);
// dx: where x's gradient goes, a row every distance_of_rows().
ConvGradients conv_backward(const ConvInputs& in, const ScanSegments& segments, const at::Tensor& dy,
                            const at::Tensor& dx, void* stream);

}  // namespace ringtron::fused

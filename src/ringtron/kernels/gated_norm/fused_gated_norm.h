// The gated norm by kernels of its own (gated_norm_params.h), between tensors and pointers.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace ringtron::fused {

struct GatedNormInputs {
  at::Tensor y, z, weight;  // as gated_rms_norm() says, of one type that kernels know
  std::int64_t group;
  double epsilon;
};

struct GatedNormGradients {
  at::Tensor y, z, weight;
};

// Whether the kernels take this width; types and devices are for fused_on_gpu() to say.
bool gated_norm_fits(const GatedNormInputs& in);

at::Tensor gated_norm(const GatedNormInputs& in, void* stream);
// dz: where z's gradient goes, a row every distance_of_rows(), all of which are multiples of 16 bytes.
GatedNormGradients gated_norm_backward(const GatedNormInputs& in, const at::Tensor& d_out, const at::Tensor& dz,
                                       int multiprocessors, void* stream);

}  // namespace ringtron::fused

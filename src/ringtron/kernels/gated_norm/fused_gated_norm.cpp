#include "ringtron/kernels/gated_norm/fused_gated_norm.h"

#include <ATen/ATen.h>

#include "ringtron/kernels/device/element.h"
#include "ringtron/kernels/device/row_views.h"
#include "ringtron/kernels/gated_norm/gated_norm_params.h"

namespace ringtron::fused {
namespace {

// Rows of [..., channels].
GatedNormInputs as_rows(const GatedNormInputs& in) {
  return {readable_rows(in.y, 8, 1), readable_rows(in.z, 8, 1), in.weight.contiguous(), in.group, in.epsilon};
}

GatedNormParams params_of(const GatedNormInputs& in) {
  GatedNormParams p{};
  p.y = in.y.const_data_ptr();
  p.z = in.z.const_data_ptr();
  p.weight = in.weight.const_data_ptr();
  p.rows = in.y.numel() / in.y.size(-1);
  p.y_stride = distance_of_rows(in.y, 1);
  p.z_stride = distance_of_rows(in.z, 1);
  p.width = static_cast<int>(in.group);
  p.groups = static_cast<int>(in.y.size(-1) / in.group);
  p.epsilon = static_cast<float>(in.epsilon);
  p.type = *element_of(in.y);
  return p;
}

}  // namespace

bool gated_norm_fits(const GatedNormInputs& in) {
  return in.group % 8 == 0 && in.group <= GatedNormParams::kMostWidth && in.y.dim() > 1;
}

at::Tensor gated_norm(const GatedNormInputs& given, void* stream) {
  const GatedNormInputs in = as_rows(given);
  at::Tensor out = at::empty(in.y.sizes(), in.y.options());
  if (out.numel() == 0) return out;
  GatedNormParams p = params_of(in);
  p.out = out.mutable_data_ptr();
  gated_norm_forward_cuda(p, stream);
  return out;
}

GatedNormGradients gated_norm_backward(const GatedNormInputs& given, const at::Tensor& d_out_given,
                                       const at::Tensor& dz, int multiprocessors, void* stream) {
  const GatedNormInputs in = as_rows(given);
  GatedNormGradients g{at::empty(in.y.sizes(), in.y.options()), dz, at::zeros_like(in.weight)};
  if (g.y.numel() == 0) return g;
  const at::Tensor d_out = d_out_given.contiguous();
  GatedNormParams p = params_of(in);
  p.parts = gated_norm_parts(p.rows, p.groups, p.width, multiprocessors);
  const at::Tensor parts = at::empty({p.parts, in.weight.size(0)}, in.y.options().dtype(at::kFloat));
  p.d_out = d_out.const_data_ptr();
  p.dy = g.y.mutable_data_ptr();
  p.dz = dz.mutable_data_ptr();
  p.dz_stride = distance_of_rows(dz, 1);
  p.weight_parts = static_cast<float*>(parts.mutable_data_ptr());
  gated_norm_backward_cuda(p, stream);
  g.weight = parts.sum(0).to(in.weight.scalar_type());
  return g;
}

}  // namespace ringtron::fused

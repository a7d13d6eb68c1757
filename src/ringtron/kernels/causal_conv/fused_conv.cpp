#include "ringtron/kernels/causal_conv/fused_conv.h"

#include <ATen/ATen.h>

#include <vector>

#include "ringtron/kernels/causal_conv/causal_conv_params.h"
#include "ringtron/kernels/device/device_table.h"
#include "ringtron/kernels/device/element.h"
#include "ringtron/kernels/device/row_views.h"

namespace ringtron::fused {
namespace {

at::Tensor table_of(const ScanSegments& segments, const at::Device& device) {
  std::vector<ConvSegment> list;
  for (const ScanSegment& s : segments.list()) list.push_back({s.sample * segments.rows() + s.begin, s.initial});
  list.push_back({segments.rows() * segments.samples(), -1});
  return device_table(list, device);
}

CausalConvParams params_of(const ConvInputs& in, const ScanSegments& segments, const at::Tensor& table) {
  CausalConvParams p{};
  p.x = in.x.const_data_ptr();
  p.weight = in.weight.const_data_ptr();
  p.bias = in.bias.const_data_ptr();
  p.halo = in.halo.const_data_ptr();
  p.segments = static_cast<const ConvSegment*>(table.const_data_ptr());
  p.count = static_cast<std::int64_t>(segments.list().size());
  p.rows = segments.rows();
  p.samples = segments.samples();
  p.x_stride = distance_of_rows(in.x, 1);
  p.channels = static_cast<int>(in.x.size(2));
  p.width = static_cast<int>(in.weight.size(-1));
  p.type = *element_of(in.x);
  return p;
}

ConvInputs readable(const ConvInputs& in) {
  return {readable_rows(in.x, 4, 1), in.weight.contiguous(), in.bias.contiguous(), in.halo.contiguous()};
}

}  // namespace

bool conv_fits(const ConvInputs& in) {
  const std::int64_t width = in.weight.size(-1);
  return in.x.size(2) % 4 == 0 && width >= 2 && width <= CausalConvParams::kMostWidth;
}

at::Tensor conv(const ConvInputs& given, const ScanSegments& segments, void* stream) {
  const ConvInputs in = readable(given);
  at::Tensor y = at::empty(in.x.sizes(), in.x.options());
  if (y.numel() == 0) return y;
  const at::Tensor table = table_of(segments, in.x.device());
  CausalConvParams p = params_of(in, segments, table);
  p.y = y.mutable_data_ptr();
  causal_conv_forward_cuda(p, stream);
  return y;
}

ConvGradients conv_backward(const ConvInputs& given, const ScanSegments& segments, const at::Tensor& dy_given,
                            const at::Tensor& dx, void* stream) {
  const ConvInputs in = readable(given);
  ConvGradients g{dx, at::zeros_like(in.weight), at::zeros_like(in.bias), at::empty_like(in.halo)};
  if (g.x.numel() == 0) return g;
  const at::Tensor table = table_of(segments, in.x.device()), dy = dy_given.contiguous();
  CausalConvParams p = params_of(in, segments, table);
  const at::Tensor parts =
      at::empty({causal_conv_parts(p.rows, p.samples), p.width + 1, p.channels}, in.x.options().dtype(at::kFloat));
  p.dy = dy.const_data_ptr();
  p.dx = dx.mutable_data_ptr();
  p.dx_stride = distance_of_rows(dx, 1);
  p.d_halo = g.halo.mutable_data_ptr();
  p.parts = static_cast<float*>(parts.mutable_data_ptr());
  causal_conv_backward_cuda(p, stream);
  const at::Tensor sums = parts.sum(0);
  g.weight = sums.narrow(0, 0, p.width).t().to(in.weight.scalar_type()).reshape(in.weight.sizes());
  g.bias = sums.select(0, p.width).to(in.bias.scalar_type());
  return g;
}

}  // namespace ringtron::fused

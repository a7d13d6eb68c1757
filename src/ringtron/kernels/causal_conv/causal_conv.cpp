#include "ringtron/kernels/causal_conv/causal_conv.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/kernels/causal_conv/fused_conv.h"
#include "ringtron/kernels/device/fused.h"
#include "ringtron/kernels/device/keep_inputs.h"

namespace ringtron {
namespace {

// For each row of x, as [s * b], where the row `back` positions before it is: among the rows of x, then those of the
// halo, then one of zeros.
at::Tensor places(const ScanSegments& segments, std::int64_t back, std::int64_t halo_rows, const at::Device& device) {
  const std::int64_t b = segments.samples(), own = segments.rows() * b, zeros = own + segments.initials() * halo_rows;
  at::Tensor table = at::empty({own}, at::kLong);
  auto to = table.accessor<std::int64_t, 1>();
  for (const ScanSegment& segment : segments.list()) {
    for (std::int64_t i = segment.begin; i < segment.end; ++i) {
      const std::int64_t row = i - back, before = segment.begin - row;  // > 0: in the halo
      std::int64_t from = row * b + segment.sample;
      if (before > 0) from = segment.initial < 0 ? zeros : own + (segment.initial + 1) * halo_rows - before;
      to[i * b + segment.sample] = from;
    }
  }
  return table.to(device, at::kLong, /*non_blocking=*/true);
}

struct Held : torch::CustomClassHolder {
  std::shared_ptr<const ScanSegments> segments;
  GradientPlace place_of_x;
};

class FusedConv : public torch::autograd::Function<FusedConv> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, at::TensorList inputs,
                            const c10::intrusive_ptr<Held>& held) {
    context->save_for_backward(inputs.vec());
    context->saved_data["held"] = c10::IValue::make_capsule(held);
    return fused::conv({inputs[0], inputs[1], inputs[2], inputs[3]}, *held->segments, current_cuda_stream());
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& grads) {
    const auto held = c10::static_intrusive_pointer_cast<Held>(context->saved_data["held"].toCapsule());
    const auto in = context->get_saved_variables();
    fused::ConvGradients g = fused::conv_backward({in[0], in[1], in[2], in[3]}, *held->segments, grads[0],
                                                  held->place_of_x.like(in[0], 4), current_cuda_stream());
    return {g.x, g.weight, g.bias, g.halo, {}};
  }
};

}  // namespace

at::Tensor causal_conv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& halo,
                       const std::shared_ptr<const ScanSegments>& segments, const GradientPlace& place_of_x) {
  const std::int64_t channels = x.size(-1), width = weight.size(-1);
  RT_CHECK(x.dim() == 3 && x.size(0) == segments->rows() && x.size(1) == segments->samples(),
           "causal_conv: rows of the segments");
  RT_CHECK_EQ(weight.size(0), channels, "causal_conv: channels of the weight");
  RT_CHECK(halo.dim() == 3 && halo.size(0) == segments->initials() && halo.size(1) == width - 1,
           "causal_conv: rows before the segments");
  if (fused::conv_fits({x, weight, bias, halo}) && fused_on_gpu({x, weight, bias, halo})) {
    auto held = c10::make_intrusive<Held>();
    held->segments = segments;
    held->place_of_x = place_of_x;
    const std::vector<at::Tensor> inputs = {x, weight, bias, halo};
    return FusedConv::apply(at::TensorList(inputs), held);
  }
  const auto composed = [segments, channels, width](const std::vector<at::Tensor>& in) {
    const at::ScalarType narrow = in[0].scalar_type(), wide = narrow == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor rows = at::cat({in[0].reshape({-1, channels}), in[3].reshape({-1, channels}).to(narrow),
                                     at::zeros({1, channels}, in[0].options())})
                                .to(wide);
    const at::Tensor taps = in[1].to(wide).squeeze(1);
    at::Tensor sum = in[2].to(wide).expand({in[0].size(0) * in[0].size(1), channels});
    for (std::int64_t k = 0; k < width; ++k) {
      sum = sum + rows.index_select(0, places(*segments, width - 1 - k, width - 1, rows.device())) * taps.select(1, k);
    }
    return at::silu(sum).to(narrow).view(in[0].sizes());
  };
  return keeping_inputs(composed, {x, weight, bias, halo});
}

}  // namespace ringtron

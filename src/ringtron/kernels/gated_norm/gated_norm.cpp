#include "ringtron/kernels/gated_norm/gated_norm.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/kernels/device/fused.h"
#include "ringtron/kernels/device/keep_inputs.h"
#include "ringtron/kernels/gated_norm/fused_gated_norm.h"

namespace ringtron {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

struct Held : torch::CustomClassHolder {
  GradientPlace place_of_z;
};

class FusedGatedNorm : public Function<FusedGatedNorm> {
 public:
  static at::Tensor forward(AutogradContext* context, at::TensorList inputs, std::int64_t group, double epsilon,
                            const c10::intrusive_ptr<Held>& held) {
    context->save_for_backward(inputs.vec());
    context->saved_data["held"] = c10::IValue::make_capsule(held);
    context->saved_data["group"] = group;
    context->saved_data["epsilon"] = epsilon;
    return fused::gated_norm({inputs[0], inputs[1], inputs[2], group, epsilon}, current_cuda_stream());
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list in = context->get_saved_variables();
    const fused::GatedNormInputs inputs{in[0], in[1], in[2], context->saved_data["group"].toInt(),
                                        context->saved_data["epsilon"].toDouble()};
    const auto held = c10::static_intrusive_pointer_cast<Held>(context->saved_data["held"].toCapsule());
    fused::GatedNormGradients g = fused::gated_norm_backward(inputs, grads[0], held->place_of_z.like(in[1], 8),
                                                             multiprocessors(in[0]), current_cuda_stream());
    return {g.y, g.z, g.weight, {}, {}, {}};
  }
};

}  // namespace

at::Tensor gated_rms_norm(const at::Tensor& y, const at::Tensor& z, const at::Tensor& weight, std::int64_t group,
                          double epsilon, const GradientPlace& place_of_z) {
  RT_CHECK(y.sizes() == z.sizes() && y.size(-1) % group == 0 && weight.size(0) == y.size(-1),
           "gated norm: expected y and z of {} channels in groups of {}", weight.size(0), group);
  if (fused::gated_norm_fits({y, z, weight, group, epsilon}) && fused_on_gpu({y, z, weight})) {
    const std::vector<at::Tensor> inputs = {y, z, weight};
    auto held = c10::make_intrusive<Held>();
    held->place_of_z = place_of_z;
    return FusedGatedNorm::apply(at::TensorList(inputs), group, epsilon, held);
  }
  const auto composed = [group, epsilon](const std::vector<at::Tensor>& in) {
    const at::ScalarType narrow = in[0].scalar_type(), wide = narrow == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor u = (in[0].to(wide) * at::silu(in[1].to(wide))).unflatten(-1, {-1, group});
    const at::Tensor normed = u * at::rsqrt(u.square().mean(-1, /*keepdim=*/true) + epsilon);
    return (normed.flatten(-2) * in[2].to(wide)).to(narrow);
  };
  return keeping_inputs(composed, {y, z, weight});
}

}  // namespace ringtron

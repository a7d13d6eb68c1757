#include "ringtron/kernels/norm/norm.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>
#include <optional>

namespace ringtron {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// LayerNorm whose inside is fp32 (fp64 for fp64): only its input, as it is, and the statistics are kept. ATen's CPU kernel keeps
// the statistics of bf16 input in bf16 and sums the gradients of weight and bias in bf16, row by row.
class WideLayerNorm : public Function<WideLayerNorm> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, double epsilon, bool zero_centred) {
    const at::ScalarType wide = wide_type(x);
    const std::optional<at::Tensor> shift = bias ? std::optional(bias->to(wide)) : std::nullopt;
    auto [y, mean, rstd] =
        at::native_layer_norm(x.to(wide), {x.size(-1)}, factor_of(weight, wide, zero_centred), shift, epsilon);
    context->save_for_backward({x, weight, mean, rstd});
    context->saved_data["zero_centred"] = zero_centred;
    context->saved_data["has_bias"] = bias.has_value();
    return y.to(x.scalar_type());
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1];
    const at::ScalarType wide = wide_type(x), narrow = x.scalar_type();
    const bool has_bias = context->saved_data["has_bias"].toBool();
    // Of the bias only whether there is one counts.
    const std::optional<at::Tensor> shift = has_bias ? std::optional(weight.to(wide)) : std::nullopt;
    auto [dx, d_weight, d_bias] = at::native_layer_norm_backward(
        grads[0].to(wide).contiguous(), x.to(wide).contiguous(), {x.size(-1)}, saved[2], saved[3],
        factor_of(weight, wide, context->saved_data["zero_centred"].toBool()), shift, {true, true, has_bias});
    return {dx.to(narrow), d_weight.to(narrow), has_bias ? d_bias.to(narrow) : at::Tensor(), {}, {}};
  }

 private:
  static at::ScalarType wide_type(const at::Tensor& x) { return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }

  // 1 + weight in bf16 would lose the weight's low bits, which the zero-centred form is there to keep.
  static at::Tensor factor_of(const at::Tensor& weight, at::ScalarType wide, bool zero_centred) {
    return zero_centred ? weight.to(wide) + 1 : weight.to(wide);
  }
};

}  // namespace

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double epsilon,
                      bool zero_centred) {
  // ATen's own is right for wide types, and on GPUs, where its sums are fp32 whatever the type.
  const bool wide_inside = x.is_cuda() || x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble;
  if (!zero_centred && wide_inside) return at::layer_norm(x, {x.size(-1)}, weight, bias, epsilon);
  // Function::apply fails on an undefined tensor, but takes an empty optional.
  return WideLayerNorm::apply(x, weight, bias.defined() ? std::optional(bias) : std::nullopt, epsilon, zero_centred);
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon, bool zero_centred) {
  const at::Tensor wide = x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
  const at::Tensor scaled = wide * at::rsqrt(wide.square().mean(-1, /*keepdim=*/true) + epsilon);
  const at::Tensor factor = weight.to(wide.scalar_type());
  return (scaled * (zero_centred ? factor + 1 : factor)).to(x.scalar_type());
}

}  // namespace ringtron

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

at::ScalarType wide_type(const at::Tensor& x) { return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }

// 1 + weight in bf16 would lose the weight's low bits, which the zero-centred form is there to keep.
at::Tensor factor_of(const at::Tensor& weight, at::ScalarType wide, bool zero_centred) {
  return zero_centred ? weight.to(wide) + 1 : weight.to(wide);
}

// LayerNorm whose inside is fp32 (fp64 for fp64): only its input, as it is, and the statistics are kept. ATen's CPU
// kernel keeps the statistics of bf16 input in bf16 and sums the gradients of weight and bias in bf16, row by row.
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
};

// As WideLayerNorm, without mean and bias.
class WideRmsNorm : public Function<WideRmsNorm> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, double epsilon,
                            bool zero_centred) {
    const at::ScalarType wide = wide_type(x);
    const at::Tensor in = x.to(wide), rstd = at::rsqrt(in.square().mean(-1, /*keepdim=*/true) + epsilon);
    context->save_for_backward({x, weight, rstd});
    context->saved_data["zero_centred"] = zero_centred;
    return (in * rstd * factor_of(weight, wide, zero_centred)).to(x.scalar_type());
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &rstd = saved[2];
    const at::ScalarType wide = wide_type(x), narrow = x.scalar_type();
    const at::Tensor normed = x.to(wide) * rstd, dy = grads[0].to(wide);
    const at::Tensor g = dy * factor_of(weight, wide, context->saved_data["zero_centred"].toBool());
    const at::Tensor dx = rstd * (g - normed * (g * normed).mean(-1, /*keepdim=*/true));
    const at::Tensor d_weight = (dy * normed).reshape({-1, x.size(-1)}).sum(0);
    return {dx.to(narrow), d_weight.to(narrow), {}, {}};
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
  return WideRmsNorm::apply(x, weight, epsilon, zero_centred);
}

}  // namespace ringtron

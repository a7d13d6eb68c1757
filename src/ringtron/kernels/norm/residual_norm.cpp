// The residual sum and its norm as one autograd function. See norm.h.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <optional>

#include "ringtron/kernels/device/fused.h"
#include "ringtron/kernels/norm/norm.h"
#include "ringtron/kernels/norm/norm_params.h"

namespace ringtron {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using OptionalTensor = std::optional<at::Tensor>;

OptionalTensor some(const at::Tensor& x) { return x.defined() ? OptionalTensor(x) : std::nullopt; }
at::Tensor defined(const OptionalTensor& x) { return x ? *x : at::Tensor(); }
const void* address(const at::Tensor& x) { return x.defined() ? x.const_data_ptr() : nullptr; }

// What dropout asks of a call, kept for the backward as plain values.
BranchDropout kernel_dropout(double p, std::int64_t key, const at::Tensor& positions, const at::Tensor& samples) {
  if (p == 0.0) return {};
  return {positions.const_data_ptr<std::int64_t>(),
          samples.const_data_ptr<std::int64_t>(),
          samples.numel(),
          static_cast<std::uint64_t>(key),
          static_cast<std::uint32_t>(std::ldexp(p, 32)),
          static_cast<float>(1.0 / (1.0 - p))};
}

NormShape shape_of(const at::Tensor& x, bool rms, bool zero_centred) {
  const std::int64_t width = x.size(-1);
  return {x.numel() / width, static_cast<int>(width), *element_of(x), rms, zero_centred};
}

// Returns {sum, normed}; without weights {sum}. Without a branch the sum is x itself.
class FusedResidualNorm : public Function<FusedResidualNorm> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& input, const OptionalTensor& branch,
                               const OptionalTensor& weight, const OptionalTensor& bias, double epsilon, bool rms,
                               bool zero_centred, double p, std::int64_t key, const OptionalTensor& positions,
                               const OptionalTensor& samples) {
    const at::Tensor x = input.contiguous(), added = branch ? branch->contiguous() : at::Tensor();
    const auto statistics = x.options().dtype(at::kFloat);
    NormForwardParams params{};
    params.shape = shape_of(x, rms, zero_centred);
    at::Tensor sum = added.defined() ? at::empty_like(x) : x, normed, mean, rstd;
    params.x = address(x);
    params.branch = address(added);
    params.sum = added.defined() ? sum.mutable_data_ptr() : nullptr;
    if (weight) {
      normed = at::empty_like(x);
      rstd = at::empty({params.shape.rows}, statistics);
      mean = rms ? at::empty({0}, statistics) : at::empty({params.shape.rows}, statistics);
      params.normed = normed.mutable_data_ptr();
      params.rstd = rstd.mutable_data_ptr<float>();
      params.mean = rms ? nullptr : mean.mutable_data_ptr<float>();
      params.weight = weight->const_data_ptr();
      params.bias = address(defined(bias));
      params.epsilon = static_cast<float>(epsilon);
    }
    params.dropout = kernel_dropout(p, key, defined(positions), defined(samples));
    norm_forward_cuda(params, current_cuda_stream());

    context->set_materialize_grads(false);
    context->save_for_backward(
        {weight ? sum : at::Tensor(), defined(weight), mean, rstd, defined(positions), defined(samples)});
    context->saved_data["has_branch"] = added.defined();
    context->saved_data["has_bias"] = bias.has_value();
    context->saved_data["rms"] = rms;
    context->saved_data["zero_centred"] = zero_centred;
    context->saved_data["p"] = p;
    context->saved_data["key"] = key;
    if (!weight) return {sum};
    return {sum, normed};
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto saved = context->get_saved_variables();
    const double p = context->saved_data["p"].toDouble();
    const bool has_branch = context->saved_data["has_branch"].toBool();
    const at::Tensor d_sum = grads[0].defined() ? grads[0].contiguous() : at::Tensor();
    Gradients g;
    if (grads.size() > 1 && grads[1].defined()) {
      g = of_norm(context, saved, d_sum, grads[1].contiguous(), has_branch && p > 0.0);
    } else {
      g.dx = d_sum;
      if (has_branch && p > 0.0 && d_sum.defined()) {
        g.d_branch = dropped(d_sum, kernel_dropout(p, context->saved_data["key"].toInt(), saved[4], saved[5]));
      }
    }
    if (has_branch && p == 0.0) g.d_branch = g.dx;
    variable_list all(11);
    all[0] = g.dx;
    all[1] = g.d_branch;
    all[2] = g.d_weight;
    all[3] = g.d_bias;
    return all;
  }

 private:
  struct Gradients {
    at::Tensor dx, d_branch, d_weight, d_bias;
  };

  // A branch alone through the forward kernel: 0 + dropout(gradient).
  static at::Tensor dropped(const at::Tensor& gradient, const BranchDropout& dropout) {
    const at::Tensor result = at::empty_like(gradient);
    NormForwardParams params{};
    params.shape = shape_of(gradient, false, false);
    params.branch = gradient.const_data_ptr();
    params.sum = result.mutable_data_ptr();
    params.dropout = dropout;
    norm_forward_cuda(params, current_cuda_stream());
    return result;
  }

  static Gradients of_norm(AutogradContext* context, const variable_list& saved, const at::Tensor& d_sum,
                           const at::Tensor& d_normed, bool separate_branch) {
    const at::Tensor &sum = saved[0], &weight = saved[1], &mean = saved[2], &rstd = saved[3];
    const bool has_bias = context->saved_data["has_bias"].toBool();
    Gradients g;
    g.dx = at::empty_like(sum);
    g.d_weight = at::empty_like(weight);
    NormBackwardParams params{};
    params.shape = shape_of(sum, context->saved_data["rms"].toBool(), context->saved_data["zero_centred"].toBool());
    params.parts = norm_backward_parts(params.shape, multiprocessors(sum));
    const at::Tensor parts = at::empty({has_bias ? 2 : 1, params.parts, params.shape.width}, rstd.options());
    params.sum = sum.const_data_ptr();
    params.weight = weight.const_data_ptr();
    params.d_normed = d_normed.const_data_ptr();
    params.d_sum = address(d_sum);
    params.mean = params.shape.rms ? nullptr : mean.const_data_ptr<float>();
    params.rstd = rstd.const_data_ptr<float>();
    params.dx = g.dx.mutable_data_ptr();
    params.weight_parts = parts.mutable_data_ptr<float>();
    params.d_weight = g.d_weight.mutable_data_ptr();
    if (has_bias) {
      g.d_bias = at::empty_like(weight);
      params.bias_parts = params.weight_parts + static_cast<std::int64_t>(params.parts) * params.shape.width;
      params.d_bias = g.d_bias.mutable_data_ptr();
    }
    if (separate_branch) {
      g.d_branch = at::empty_like(sum);
      params.d_branch = g.d_branch.mutable_data_ptr();
      params.dropout =
          kernel_dropout(context->saved_data["p"].toDouble(), context->saved_data["key"].toInt(), saved[4], saved[5]);
    }
    norm_backward_cuda(params, current_cuda_stream());
    return g;
  }
};

bool fused(const at::Tensor& x, const at::Tensor& branch, const at::Tensor& weight, const at::Tensor& bias) {
  return x.size(-1) % 8 == 0 && x.size(-1) <= NormShape::kMostWidth && x.numel() > 0 &&
         fused_on_gpu({x, branch, weight, bias});
}

variable_list apply(const at::Tensor& x, const at::Tensor& branch, const NormWeights& norm,
                    const BranchDropoutOptions& dropout) {
  const bool drops = branch.defined() && dropout.p > 0.0;
  const auto plain = [drops](const at::Tensor& t) { return drops ? OptionalTensor(t.contiguous()) : std::nullopt; };
  return FusedResidualNorm::apply(x, some(branch), some(norm.weight), some(norm.bias), norm.epsilon, norm.rms,
                                  norm.zero_centred, drops ? dropout.p : 0.0, static_cast<std::int64_t>(dropout.key),
                                  plain(dropout.region.positions), plain(dropout.region.sample_numbers));
}

}  // namespace

ResidualNorm residual_norm(const at::Tensor& x, const at::Tensor& branch, const NormWeights& norm,
                           const BranchDropoutOptions& dropout_options) {
  if (fused(x, branch, norm.weight, norm.bias)) {
    variable_list results = apply(x, branch, norm, dropout_options);
    return {std::move(results[0]), std::move(results[1])};
  }
  const at::Tensor sum = branch.defined() ? residual_sum(x, branch, dropout_options) : x;
  return {sum, norm.rms ? rms_norm(sum, norm.weight, norm.epsilon, norm.zero_centred)
                        : layer_norm(sum, norm.weight, norm.bias, norm.epsilon, norm.zero_centred)};
}

at::Tensor residual_sum(const at::Tensor& x, const at::Tensor& branch, const BranchDropoutOptions& options) {
  if (options.p > 0.0 && fused(x, branch, {}, {})) return apply(x, branch, {}, options)[0];
  return x + dropout(branch, options.p, options.key, options.region);
}

}  // namespace ringtron

#include "ringtron/modules/mlp.h"

#include <ATen/ATen.h>

#include <cmath>

#include "ringtron/tensor_parallel/linear.h"

namespace ringtron {
namespace {

Activation choose(const ModelConfig& m) {
  if (m.swiglu) return Activation::swiglu;
  if (m.squared_relu) return Activation::squared_relu;
  // Megatron's fused bias-GELU, its default where there are biases, is the tanh form; unfused it is the exact one.
  if (m.openai_gelu || (m.add_bias_linear && m.bias_gelu_fusion)) return Activation::gelu_tanh;
  return Activation::gelu_erf;
}

}  // namespace

Mlp::Mlp(const BuildContext& build, const std::string& prefix)
    : build_(build), activation_(choose(build.config.model)) {
  const ModelConfig& m = build.config.model;
  const std::int64_t h = m.hidden_size, f = m.ffn_hidden_size, rows = m.swiglu ? 2 * f : f;
  const std::vector<std::int64_t> parts = m.swiglu ? std::vector<std::int64_t>{f, f} : std::vector<std::int64_t>{};
  const double std = build.config.precision.init_method_std;
  fc1_weight_ = &build.store.add(prefix + "linear_fc1.weight", ShardSpec{{rows, h}, 0, parts}, build.weight_initial(std));
  if (m.add_bias_linear) {
    fc1_bias_ = &build.store.add(prefix + "linear_fc1.bias", ShardSpec{{rows}, 0, parts}, Initial::constant(0.0));
  }
  fc2_weight_ = &build.store.add(prefix + "linear_fc2.weight", ShardSpec{{h, f}, 1},
                                 build.weight_initial(std / std::sqrt(2.0 * m.num_layers)));
  if (m.add_bias_linear) {
    fc2_bias_ = &build.store.add(prefix + "linear_fc2.bias", ShardSpec{{h}}, Initial::constant(0.0));
    if (build.sequence_parallel()) fc2_bias_->gradient_axes = fc2_bias_->gradient_axes | Axis::tensor;
  }
}

at::Tensor Mlp::forward(const at::Tensor& x) const {
  const at::Tensor none;
  const bool sp = build_.sequence_parallel();
  const at::Tensor up = column_parallel_linear(x, fc1_weight_->value, fc1_bias_ ? fc1_bias_->value : none,
                                               build_.tensor_group(), sp);
  return row_parallel_linear(activate(up, activation_), fc2_weight_->value, fc2_bias_ ? fc2_bias_->value : none,
                             build_.tensor_group(), sp);
}

}  // namespace ringtron

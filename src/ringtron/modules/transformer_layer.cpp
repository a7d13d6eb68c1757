#include "ringtron/modules/transformer_layer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

namespace ringtron {
namespace {

std::string prefix(int layer) { return fmt::format("decoder.layers.{}.", layer); }

// Megatron's names: the norm belongs to the linear layer that follows it.
NormLayer::Names norm_of(const std::string& linear) {
  return {linear + ".layer_norm_weight", linear + ".layer_norm_bias"};
}

}  // namespace

TransformerLayer::TransformerLayer(const BuildContext& build, int layer)
    : layer_(layer),
      dropout_(build.config.precision.hidden_dropout),
      attention_norm_(build, norm_of(prefix(layer) + "self_attention.linear_qkv"), build.config.model.hidden_size,
                      build.sequence_parallel()),
      attention_(build, prefix(layer) + "self_attention.", layer),
      mlp_norm_(build, norm_of(prefix(layer) + "mlp.linear_fc1"), build.config.model.hidden_size,
                build.sequence_parallel()),
      mlp_(build, prefix(layer) + "mlp.") {}

at::Tensor TransformerLayer::forward(const at::Tensor& x, const StepContext& step) const {
  const double p = step.training ? dropout_ : 0.0;
  const at::Tensor attended = attention_.forward(attention_norm_.forward(x), step);
  const at::Tensor middle =
      x + dropout(attended, p, step.key(layer_, DropoutPlace::attention_output), step.region);
  const at::Tensor fed = mlp_.forward(mlp_norm_.forward(middle));
  return middle + dropout(fed, p, step.key(layer_, DropoutPlace::mlp_output), step.region);
}

}  // namespace ringtron

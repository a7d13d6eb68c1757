#include "ringtron/modules/transformer_layer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "ringtron/modules/module_spec.h"

namespace ringtron {

TransformerLayer::TransformerLayer(const BuildContext& build, const TransformerOptions& options, const LayerSpec& layer)
    : TransformerLayer(build, options, layer,
                       build.store.add(parameters_of(options, layer.number))
                           .within(fmt::format("decoder.layers.{}.", layer.number))) {}

TransformerLayer::TransformerLayer(const BuildContext& build, const TransformerOptions& options, const LayerSpec& layer,
                                   const NamedParameters& parameters)
    : number_(static_cast<std::uint64_t>(layer.number)),
      dropout_(options.dropout),
      attention_norm_(options.norm, parameters,
                      {"self_attention.linear_qkv.layer_norm_weight", "self_attention.linear_qkv.layer_norm_bias"}),
      attention_(build, options.attention, layer, parameters.within("self_attention.")),
      mlp_norm_(options.norm, parameters, {"mlp.linear_fc1.layer_norm_weight", "mlp.linear_fc1.layer_norm_bias"}),
      mlp_(build, options.mlp, layer, parameters.within("mlp.")) {}

at::Tensor TransformerLayer::forward(const at::Tensor& x, const StepContext& step) const {
  const double p = step.training ? dropout_ : 0.0;
  const auto dropout_at = [&](DropoutPlace place) {
    return BranchDropoutOptions{p, step.key(number_, place), step.region};
  };
  const ResidualNorm in = residual_norm(x, {}, attention_norm_.weights());
  const at::Tensor attended = attention_.forward({in.normed, attention_norm_.again(in.sum)}, step);
  const ResidualNorm middle =
      residual_norm(in.sum, attended, mlp_norm_.weights(), dropout_at(DropoutPlace::attention_output));
  return residual_sum(middle.sum, mlp_.forward({middle.normed, mlp_norm_.again(middle.sum)}, step),
                      dropout_at(DropoutPlace::mlp_output));
}

}  // namespace ringtron

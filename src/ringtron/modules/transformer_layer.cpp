#include "ringtron/modules/transformer_layer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "ringtron/modules/module_spec.h"

namespace ringtron {

TransformerLayer::TransformerLayer(const BuildContext& build, const TransformerOptions& options,
                                   const LayerSpec& layer)
    : TransformerLayer(build, options, layer,
                       build.store.add(parameters_of(options, layer.number))
                           .within(fmt::format("decoder.layers.{}.", layer.number))) {}

TransformerLayer::TransformerLayer(const BuildContext& build, const TransformerOptions& options,
                                   const LayerSpec& layer, const NamedParameters& parameters)
    : number_(static_cast<std::uint64_t>(layer.number)),
      dropout_(options.dropout),
      attention_norm_(
          options.norm, parameters,
          {"self_attention.linear_qkv.layer_norm_weight", "self_attention.linear_qkv.layer_norm_bias"}),
      attention_(build, options.attention, layer, parameters.within("self_attention.")),
      mlp_norm_(options.norm, parameters,
                {"mlp.linear_fc1.layer_norm_weight", "mlp.linear_fc1.layer_norm_bias"}),
      mlp_(build, options.mlp, parameters.within("mlp.")) {}

at::Tensor TransformerLayer::forward(const at::Tensor& x, const StepContext& step) const {
  const double p = step.training ? dropout_ : 0.0;
  const at::Tensor attended = attention_.forward(attention_norm_.forward(x), step);
  const at::Tensor middle =
      x + dropout(attended, p, step.key(number_, DropoutPlace::attention_output), step.region);
  const at::Tensor fed = mlp_.forward(mlp_norm_.forward(middle));
  return middle + dropout(fed, p, step.key(number_, DropoutPlace::mlp_output), step.region);
}

}  // namespace ringtron

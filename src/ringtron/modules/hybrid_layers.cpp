#include "ringtron/modules/hybrid_layers.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "ringtron/modules/module_spec.h"

namespace ringtron {
namespace {

std::string prefix_of(const LayerSpec& layer) { return fmt::format("decoder.layers.{}.", layer.number); }

}  // namespace

AttentionLayer::AttentionLayer(const BuildContext& build, const TransformerOptions& options, const LayerSpec& layer)
    : AttentionLayer(build, options, layer,
                     build.store.add(parameters_of_attention_layer(options, layer.number)).within(prefix_of(layer))) {}

AttentionLayer::AttentionLayer(const BuildContext& build, const TransformerOptions& options, const LayerSpec& layer,
                               const NamedParameters& parameters)
    : number_(static_cast<std::uint64_t>(layer.number)),
      dropout_(options.dropout),
      norm_(options.norm, parameters,
            {"self_attention.linear_qkv.layer_norm_weight", "self_attention.linear_qkv.layer_norm_bias"}),
      attention_(build, options.attention, layer, parameters.within("self_attention.")) {}

at::Tensor AttentionLayer::forward(const at::Tensor& x, const StepContext& step) const {
  const ResidualNorm in = residual_norm(x, {}, norm_.weights());
  const BranchDropoutOptions dropout{step.training ? dropout_ : 0.0, step.key(number_, DropoutPlace::attention_output),
                                     step.region};
  return residual_sum(in.sum, attention_.forward({in.normed, norm_.again(in.sum)}, step), dropout);
}

MlpLayer::MlpLayer(const BuildContext& build, const TransformerOptions& options, const LayerSpec& layer)
    : MlpLayer(build, options, layer,
               build.store.add(parameters_of_mlp_layer(options, layer.number)).within(prefix_of(layer))) {}

MlpLayer::MlpLayer(const BuildContext& build, const TransformerOptions& options, const LayerSpec& layer,
                   const NamedParameters& parameters)
    : number_(static_cast<std::uint64_t>(layer.number)),
      dropout_(options.dropout),
      norm_(options.norm, parameters, {"mlp.linear_fc1.layer_norm_weight", "mlp.linear_fc1.layer_norm_bias"}),
      mlp_(build, options.mlp, layer, parameters.within("mlp.")) {}

at::Tensor MlpLayer::forward(const at::Tensor& x, const StepContext& step) const {
  const ResidualNorm in = residual_norm(x, {}, norm_.weights());
  const BranchDropoutOptions dropout{step.training ? dropout_ : 0.0, step.key(number_, DropoutPlace::mlp_output),
                                     step.region};
  return residual_sum(in.sum, mlp_.forward({in.normed, norm_.again(in.sum)}, step), dropout);
}

}  // namespace ringtron

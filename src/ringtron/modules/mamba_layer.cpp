#include "ringtron/modules/mamba_layer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "ringtron/modules/module_spec.h"

namespace ringtron {

MambaLayer::MambaLayer(const BuildContext& build, const MambaOptions& options, const LayerSpec& layer)
    : MambaLayer(build, options, layer,
                 build.store.add(parameters_of(options, layer.number))
                     .within(fmt::format("decoder.layers.{}.mixer.", layer.number))) {}

MambaLayer::MambaLayer(const BuildContext& build, const MambaOptions& options, const LayerSpec& layer,
                       const NamedParameters& parameters)
    : number_(static_cast<std::uint64_t>(layer.number)),
      dropout_(options.dropout),
      norm_(options.norm, parameters, {"in_proj.layer_norm_weight", "in_proj.layer_norm_bias"}),
      mixer_(build, options, layer, parameters) {}

at::Tensor MambaLayer::forward(const at::Tensor& x, const StepContext& step) const {
  const ResidualNorm in = residual_norm(x, {}, norm_.weights());
  const BranchDropoutOptions dropout{step.training ? dropout_ : 0.0, step.key(number_, DropoutPlace::mixer_output),
                                     step.region};
  return residual_sum(in.sum, mixer_.forward({in.normed, norm_.again(in.sum)}, step), dropout);
}

}  // namespace ringtron

// One Mamba-2 layer: x + dropout(mixer(norm(x))).
#pragma once

#include "ringtron/modules/layer.h"
#include "ringtron/modules/mamba_mixer.h"
#include "ringtron/modules/norm_layer.h"

namespace ringtron {

class MambaLayer : public Layer {
 public:
  // Registers its parameters.
  MambaLayer(const BuildContext& build, const MambaOptions& options, const LayerSpec& layer);

  // Of step.scan as well.
  at::Tensor forward(const at::Tensor& x, const StepContext& step) const override;

 private:
  MambaLayer(const BuildContext& build, const MambaOptions& options, const LayerSpec& layer,
             const NamedParameters& parameters);

  std::uint64_t number_;
  double dropout_;
  NormLayer norm_;
  MambaMixer mixer_;
};

}  // namespace ringtron

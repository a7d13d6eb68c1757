// One pre-norm transformer layer: x + dropout(attention(norm(x))), then x + dropout(mlp(norm(x))).
#pragma once

#include "ringtron/modules/attention.h"
#include "ringtron/modules/layer.h"
#include "ringtron/modules/mlp.h"

namespace ringtron {

class TransformerLayer : public Layer {
 public:
  // Registers its parameters.
  TransformerLayer(const BuildContext& build, const TransformerOptions& options, const LayerSpec& layer);

  at::Tensor forward(const at::Tensor& x, const StepContext& step) const override;

 private:
  TransformerLayer(const BuildContext& build, const TransformerOptions& options, const LayerSpec& layer,
                   const NamedParameters& parameters);

  std::uint64_t number_;
  double dropout_;
  NormLayer attention_norm_;
  SelfAttention attention_;
  NormLayer mlp_norm_;
  Mlp mlp_;
};

}  // namespace ringtron

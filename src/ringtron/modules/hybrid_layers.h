// The halves of a transformer layer as layers of their own, the '*' and '-' of a hybrid model.
#pragma once

#include "ringtron/modules/attention.h"
#include "ringtron/modules/layer.h"
#include "ringtron/modules/mlp.h"

namespace ringtron {

// x + dropout(attention(norm(x))).
class AttentionLayer : public Layer {
 public:
  // Registers its parameters.
  AttentionLayer(const BuildContext& build, const TransformerOptions& options, const LayerSpec& layer);

  at::Tensor forward(const at::Tensor& x, const StepContext& step) const override;

 private:
  AttentionLayer(const BuildContext& build, const TransformerOptions& options, const LayerSpec& layer,
                 const NamedParameters& parameters);

  std::uint64_t number_;
  double dropout_;
  NormLayer norm_;
  SelfAttention attention_;
};

// x + dropout(mlp(norm(x))).
class MlpLayer : public Layer {
 public:
  // Registers its parameters.
  MlpLayer(const BuildContext& build, const TransformerOptions& options, const LayerSpec& layer);

  at::Tensor forward(const at::Tensor& x, const StepContext& step) const override;

 private:
  MlpLayer(const BuildContext& build, const TransformerOptions& options, const LayerSpec& layer,
           const NamedParameters& parameters);

  std::uint64_t number_;
  double dropout_;
  NormLayer norm_;
  Mlp mlp_;
};

}  // namespace ringtron

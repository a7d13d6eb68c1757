// One pre-norm transformer layer: x + dropout(attention(norm(x))), then x + dropout(mlp(norm(x))).
#pragma once

#include "ringtron/modules/attention.h"
#include "ringtron/modules/mlp.h"

namespace ringtron {

class TransformerLayer {
 public:
  // `layer` counts from 0 over the whole model and is part of the parameters' names.
  TransformerLayer(const BuildContext& build, int layer);

  // x: [s, b, h] in the sequence region.
  at::Tensor forward(const at::Tensor& x, const StepContext& step) const;

 private:
  int layer_;
  double dropout_;
  NormLayer attention_norm_;
  SelfAttention attention_;
  NormLayer mlp_norm_;
  Mlp mlp_;
};

}  // namespace ringtron

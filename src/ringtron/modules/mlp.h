// The feed-forward half of a transformer layer.
#pragma once

#include "ringtron/modules/build_context.h"
#include "ringtron/modules/layer_options.h"
#include "ringtron/modules/layer_spec.h"
#include "ringtron/modules/step_context.h"
#include "ringtron/tensor_parallel/linear.h"

namespace ringtron {

class Mlp {
 public:
  // `layer`: whether it is recomputed. `parameters`: those within "decoder.layers.3.mlp.".
  Mlp(const BuildContext& build, const MlpOptions& options, const LayerSpec& layer, const NamedParameters& parameters);

  // x: [s, b, h] in the sequence region; the result too, without dropout and residual.
  at::Tensor forward(const LinearInput& x, const StepContext& step) const;

 private:
  at::Tensor run(const LinearInput& x, WeightGradientQueue* later) const;

  Communicator& tensor_group_;
  MlpOptions options_;
  bool is_recomputed_;
  Parameter *fc1_weight_, *fc1_bias_, *fc2_weight_, *fc2_bias_;
};

}  // namespace ringtron

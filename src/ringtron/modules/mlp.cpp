#include "ringtron/modules/mlp.h"

#include <ATen/ATen.h>

#include "ringtron/kernels/activation/activation.h"
#include "ringtron/modules/recompute.h"

namespace ringtron {

Mlp::Mlp(const BuildContext& build, const MlpOptions& options, const LayerSpec& layer,
         const NamedParameters& parameters)
    : tensor_group_(build.tensor_group()),
      options_(options),
      is_recomputed_(layer.recompute_mlp),
      fc1_weight_(&parameters.at("linear_fc1.weight")),
      fc1_bias_(parameters.find("linear_fc1.bias")),
      fc2_weight_(&parameters.at("linear_fc2.weight")),
      fc2_bias_(parameters.find("linear_fc2.bias")) {}

at::Tensor Mlp::forward(const LinearInput& x, const StepContext& step) const {
  if (!is_recomputed_) return run(x, step.later);
  // The segment keeps its input, so that nothing has to be made again.
  return recomputed(
      [this, later = step.later](std::span<const at::Tensor> inputs) { return run({inputs[0], {}}, later); },
      {x.value});
}

at::Tensor Mlp::run(const LinearInput& x, WeightGradientQueue* later) const {
  const at::Tensor none;
  const bool sp = options_.sequence_parallel;
  const at::Tensor up = column_parallel_linear(x, LinearWeight(*fc1_weight_, later),
                                               fc1_bias_ ? fc1_bias_->value : none, tensor_group_, sp);
  std::function<at::Tensor()> activate_again;
  if (!options_.keeps_activation) {
    activate_again = [up = up.detach(), activation = options_.activation] {
      const at::NoGradGuard no_grad;
      return activate(up, activation);
    };
  }
  return row_parallel_linear({activate(up, options_.activation), activate_again}, LinearWeight(*fc2_weight_, later),
                             fc2_bias_ ? fc2_bias_->value : none, tensor_group_, sp);
}

}  // namespace ringtron

// The feed-forward half of a transformer layer.
#pragma once

#include <string>

#include "ringtron/kernels/activation/activation.h"
#include "ringtron/modules/build_context.h"

namespace ringtron {

class Mlp {
 public:
  // `prefix`: "decoder.layers.3.mlp.".
  Mlp(const BuildContext& build, const std::string& prefix);

  // x: [s, b, h] in the sequence region; the result too, without dropout and residual.
  at::Tensor forward(const at::Tensor& x) const;

 private:
  const BuildContext build_;
  Activation activation_;
  Parameter *fc1_weight_, *fc1_bias_ = nullptr, *fc2_weight_, *fc2_bias_ = nullptr;
};

}  // namespace ringtron

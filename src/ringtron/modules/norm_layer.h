// A norm with its parameters, as the configuration asks for it.
#pragma once

#include <string>

#include "ringtron/modules/build_context.h"

namespace ringtron {

class NormLayer {
 public:
  // Parameters `weight_name` and, for LayerNorm, `bias_name`, each [width]. In the sequence region their gradients
  // cover a part of the sequence and are summed over the tensor group.
  struct Names {
    std::string weight, bias;
  };
  NormLayer(const BuildContext& build, const Names& names, int width, bool gradient_is_partial);

  // x: [..., width]
  at::Tensor forward(const at::Tensor& x) const;

 private:
  Parameter* weight_;
  Parameter* bias_ = nullptr;
  double epsilon_;
  bool zero_centred_;
  bool rms_;
};

}  // namespace ringtron

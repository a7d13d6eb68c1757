// A norm with its parameters.
#pragma once

#include <string_view>

#include "ringtron/modules/layer_options.h"
#include "ringtron/parameter/named_parameters.h"

namespace ringtron {

class NormLayer {
 public:
  // Names of the parameters, each [width]; LayerNorm alone has a bias.
  struct Names {
    std::string_view weight, bias;
  };
  NormLayer(const NormOptions& options, const NamedParameters& parameters, const Names& names);

  // x: [..., width]
  at::Tensor forward(const at::Tensor& x) const;

 private:
  NormOptions options_;
  const Parameter* weight_;
  const Parameter* bias_;
};

}  // namespace ringtron

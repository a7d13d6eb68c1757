// A norm with its parameters.
#pragma once

#include <functional>
#include <string_view>

#include "ringtron/kernels/norm/norm.h"
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
  // Computes forward(x) again, without autograd: a linear layer behind the norm need not keep it. Null where it shall
  // (NormOptions::keeps_output).
  std::function<at::Tensor()> again(const at::Tensor& x) const;
  // For operations that take the norm with what is in front of it.
  NormWeights weights() const;

 private:
  NormOptions options_;
  Parameter* weight_;
  Parameter* bias_;
};

}  // namespace ringtron

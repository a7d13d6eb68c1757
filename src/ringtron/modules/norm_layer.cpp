#include "ringtron/modules/norm_layer.h"

#include <ATen/ATen.h>

#include "ringtron/kernels/norm/norm.h"

namespace ringtron {

NormLayer::NormLayer(const NormOptions& options, const NamedParameters& parameters, const Names& names)
    : options_(options),
      weight_(&parameters.at(names.weight)),
      bias_(options.rms ? nullptr : &parameters.at(names.bias)) {}

at::Tensor NormLayer::forward(const at::Tensor& x) const { return residual_norm(x, {}, weights()).normed; }

std::function<at::Tensor()> NormLayer::again(const at::Tensor& x) const {
  if (options_.keeps_output) return {};
  return [x = x.detach(), weights = weights()] {
    const at::NoGradGuard no_grad;
    return residual_norm(x, {}, weights).normed;
  };
}

NormWeights NormLayer::weights() const {
  return {weight_->value, bias_ != nullptr ? bias_->value : at::Tensor(), options_.epsilon, options_.zero_centred,
          options_.rms};
}

}  // namespace ringtron

#include "ringtron/modules/norm_layer.h"

#include "ringtron/kernels/norm/norm.h"

namespace ringtron {

NormLayer::NormLayer(const NormOptions& options, const NamedParameters& parameters, const Names& names)
    : options_(options),
      weight_(&parameters.at(names.weight)),
      bias_(options.rms ? nullptr : &parameters.at(names.bias)) {}

at::Tensor NormLayer::forward(const at::Tensor& x) const {
  if (options_.rms) return rms_norm(x, weight_->value, options_.epsilon, options_.zero_centred);
  return layer_norm(x, weight_->value, bias_->value, options_.epsilon, options_.zero_centred);
}

}  // namespace ringtron

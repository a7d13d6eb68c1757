#include "ringtron/modules/norm_layer.h"

#include "ringtron/kernels/norm/norm.h"

namespace ringtron {

NormLayer::NormLayer(const BuildContext& build, const Names& names, int width, bool gradient_is_partial)
    : epsilon_(build.config.model.norm_epsilon),
      zero_centred_(build.config.model.apply_layernorm_1p),
      rms_(build.config.model.normalization == Normalization::rms_norm) {
  weight_ = &build.store.add(names.weight, ShardSpec{{width}}, Initial::constant(zero_centred_ ? 0.0 : 1.0));
  if (gradient_is_partial) weight_->gradient_axes = weight_->gradient_axes | Axis::tensor;
  if (!rms_) {
    bias_ = &build.store.add(names.bias, ShardSpec{{width}}, Initial::constant(0.0));
    if (gradient_is_partial) bias_->gradient_axes = bias_->gradient_axes | Axis::tensor;
  }
}

at::Tensor NormLayer::forward(const at::Tensor& x) const {
  if (rms_) return rms_norm(x, weight_->value, epsilon_, zero_centred_);
  return layer_norm(x, weight_->value, bias_->value, epsilon_, zero_centred_);
}

}  // namespace ringtron

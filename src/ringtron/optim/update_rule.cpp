#include "ringtron/optim/update_rule.h"

#include <ATen/ATen.h>

namespace ringtron {

at::Tensor UpdateStep::unless_skipped(const at::Tensor& before, const at::Tensor& after) const {
  return skip.defined() ? at::where(skip == 1, before, after) : after;
}

at::Tensor UpdateStep::scaled(const at::Tensor& gradient) const {
  return gradient * gradient_scale.reshape({}).to(gradient.scalar_type());
}

}  // namespace ringtron

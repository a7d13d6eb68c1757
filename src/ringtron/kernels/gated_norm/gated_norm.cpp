#include "ringtron/kernels/gated_norm/gated_norm.h"

#include <ATen/ATen.h>

#include "ringtron/base/check.h"
#include "ringtron/kernels/device/keep_inputs.h"

namespace ringtron {

at::Tensor gated_rms_norm(const at::Tensor& y, const at::Tensor& z, const at::Tensor& weight, std::int64_t group,
                          double epsilon) {
  RT_CHECK(y.sizes() == z.sizes() && y.size(-1) % group == 0 && weight.size(0) == y.size(-1),
           "gated norm: expected y and z of {} channels in groups of {}", weight.size(0), group);
  const auto composed = [group, epsilon](const std::vector<at::Tensor>& in) {
    const at::ScalarType narrow = in[0].scalar_type(), wide = narrow == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor u = (in[0].to(wide) * at::silu(in[1].to(wide))).unflatten(-1, {-1, group});
    const at::Tensor normed = u * at::rsqrt(u.square().mean(-1, /*keepdim=*/true) + epsilon);
    return (normed.flatten(-2) * in[2].to(wide)).to(narrow);
  };
  return keeping_inputs(composed, {y, z, weight});
}

}  // namespace ringtron

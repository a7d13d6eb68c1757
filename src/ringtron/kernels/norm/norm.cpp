#include "ringtron/kernels/norm/norm.h"

#include <ATen/ATen.h>

namespace ringtron {

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double epsilon,
                      bool zero_centred) {
  return at::layer_norm(x, {x.size(-1)}, zero_centred ? weight + 1 : weight, bias, epsilon);
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon, bool zero_centred) {
  const at::Tensor wide = x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
  const at::Tensor scaled = wide * at::rsqrt(wide.square().mean(-1, /*keepdim=*/true) + epsilon);
  const at::Tensor factor = weight.to(wide.scalar_type());
  return (scaled * (zero_centred ? factor + 1 : factor)).to(x.scalar_type());
}

}  // namespace ringtron

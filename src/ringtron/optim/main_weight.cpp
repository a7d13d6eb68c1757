#include "ringtron/optim/main_weight.h"

#include <ATen/ATen.h>

namespace ringtron {

at::Tensor join_halves(const at::Tensor& upper, const at::Tensor& lower) {
  return upper.contiguous().view(at::kShort).to(at::kInt).mul_(1 << 16).add_(lower).view(at::kFloat);
}

void split_into_halves(const at::Tensor& main, const at::Tensor& upper, const at::Tensor& lower) {
  // In integers of 64 bits: the largest numbers round up beyond 31.
  const at::Tensor bits = main.masked_fill(main.isnan(), std::numeric_limits<double>::quiet_NaN())
                              .contiguous()
                              .view(at::kInt)
                              .to(at::kLong);
  const at::Tensor high = (bits + 0x8000).bitwise_right_shift(16);
  lower.copy_(bits - high * (1 << 16));
  upper.copy_(high.to(at::kShort).view(at::kBFloat16));
}

}  // namespace ringtron

#include "ringtron/kernels/activation/activation.h"

#include <ATen/ATen.h>

#include "ringtron/base/check.h"

namespace ringtron {

at::Tensor activate(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::gelu_erf: return at::gelu(x, "none");
    case Activation::gelu_tanh: return at::gelu(x, "tanh");
    case Activation::swiglu: {
      const std::int64_t half = x.size(-1) / 2;
      return at::silu(x.narrow(-1, 0, half)) * x.narrow(-1, half, half);
    }
    case Activation::squared_relu: return at::relu(x).square();
  }
  RT_CHECK(false, "unknown activation {}", static_cast<int>(activation));
}

}  // namespace ringtron

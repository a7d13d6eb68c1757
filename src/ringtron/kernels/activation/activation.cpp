#include "ringtron/kernels/activation/activation.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/kernels/activation/activation_params.h"
#include "ringtron/kernels/device/fused.h"
#include "ringtron/kernels/device/keep_inputs.h"

namespace ringtron {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

std::int64_t channels(const at::Tensor& x, Activation activation) {
  return activation == Activation::swiglu ? x.size(-1) / 2 : x.size(-1);
}

ActivationParams params_of(const at::Tensor& x, Activation activation, const at::Tensor& out) {
  ActivationParams params{};
  params.x = x.const_data_ptr();
  params.out = out.mutable_data_ptr();
  params.width = channels(x, activation);
  params.rows = params.width == 0 ? 0 : x.numel() / x.size(-1);
  params.type = *element_of(x);
  params.activation = activation;
  return params;
}

bool fused(const at::Tensor& x, Activation activation) {
  const bool even = activation != Activation::swiglu || x.size(-1) % 2 == 0;
  return even && fused_on_gpu({x}) && channels(x, activation) % 8 == 0;
}

at::Tensor fused_forward(const at::Tensor& x, Activation activation) {
  std::vector<std::int64_t> sizes = x.sizes().vec();
  sizes.back() = channels(x, activation);
  const at::Tensor y = at::empty(sizes, x.options());
  activation_forward_cuda(params_of(x, activation, y), current_cuda_stream());
  return y;
}

at::Tensor fused_backward(const at::Tensor& x, const at::Tensor& dy, Activation activation) {
  const at::Tensor dx = at::empty_like(x);
  ActivationParams params = params_of(x, activation, dx);
  params.dy = dy.const_data_ptr();
  activation_backward_cuda(params, current_cuda_stream());
  return dx;
}

class FusedActivation : public Function<FusedActivation> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, std::int64_t activation) {
    const at::Tensor x = input.contiguous();
    context->save_for_backward({x});
    context->saved_data["activation"] = activation;
    return fused_forward(x, static_cast<Activation>(activation));
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto activation = static_cast<Activation>(context->saved_data["activation"].toInt());
    return {fused_backward(context->get_saved_variables()[0], grads[0].contiguous(), activation), {}};
  }
};

at::Tensor composed(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::gelu_erf:
      return at::gelu(x, "none");
    case Activation::gelu_tanh:
      return at::gelu(x, "tanh");
    case Activation::swiglu: {
      RT_CHECK(x.size(-1) % 2 == 0, "swiglu: expected gate and up channels of equal number, got {} in all", x.size(-1));
      const std::int64_t half = x.size(-1) / 2;
      return at::silu(x.narrow(-1, 0, half)) * x.narrow(-1, half, half);
    }
    case Activation::squared_relu:
      return at::relu(x).square();
  }
  RT_CHECK(false, "unknown activation {}", static_cast<int>(activation));
}

at::Tensor composed_gradient(const at::Tensor& x, const at::Tensor& dy, Activation activation) {
  switch (activation) {
    case Activation::gelu_erf:
      return at::gelu_backward(dy, x, "none");
    case Activation::gelu_tanh:
      return at::gelu_backward(dy, x, "tanh");
    case Activation::swiglu: {
      const std::int64_t half = x.size(-1) / 2;
      const at::Tensor gate = x.narrow(-1, 0, half), up = x.narrow(-1, half, half);
      return at::cat({at::silu_backward(dy * up, gate), dy * at::silu(gate)}, -1);
    }
    case Activation::squared_relu:
      return dy * 2 * at::relu(x);
  }
  RT_CHECK(false, "unknown activation {}", static_cast<int>(activation));
}

}  // namespace

at::Tensor activate(const at::Tensor& x, Activation activation) {
  if (fused(x, activation)) return FusedActivation::apply(x, static_cast<std::int64_t>(activation));
  return keeping_inputs([activation](const std::vector<at::Tensor>& in) { return composed(in[0], activation); }, {x});
}

at::Tensor activation_forward(const at::Tensor& x, Activation activation) {
  const at::AutoGradMode without(false);
  return fused(x, activation) ? fused_forward(x.contiguous(), activation) : composed(x, activation);
}

at::Tensor activation_backward(const at::Tensor& x, const at::Tensor& dy, Activation activation) {
  if (fused(x, activation) && dy.scalar_type() == x.scalar_type()) {
    return fused_backward(x.contiguous(), dy.contiguous(), activation);
  }
  return composed_gradient(x, dy, activation);
}

}  // namespace ringtron

// The feed-forward nonlinearities.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/kernels/activation/activation_kind.h"

namespace ringtron {

// x: [..., f], for swiglu [..., 2 f]; returns [..., f]. Only x is kept for the backward. On a GPU one kernel each way,
// computed in fp32, where f is a multiple of 8 and the type is not fp64; ATen's operations elsewhere, the truth that it
// is compared with.
at::Tensor activate(const at::Tensor& x, Activation activation);

// Its two passes without autograd, for who keeps x himself (ops/). dy: [..., f]; returns the gradient of x.
at::Tensor activation_forward(const at::Tensor& x, Activation activation);
at::Tensor activation_backward(const at::Tensor& x, const at::Tensor& dy, Activation activation);

}  // namespace ringtron

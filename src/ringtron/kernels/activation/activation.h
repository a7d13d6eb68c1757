// The feed-forward nonlinearities.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/kernels/activation/activation_kind.h"

namespace ringtron {

// x: [..., f], for swiglu [..., 2 f]; returns [..., f]. Autograd through ATen.
at::Tensor activate(const at::Tensor& x, Activation activation);

}  // namespace ringtron

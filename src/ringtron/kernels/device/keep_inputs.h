// Plain operations under autograd of which only the inputs are kept: the backward runs them again and goes through
// them. So the composed form of a fused kernel keeps what the kernel keeps.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace ringtron {

using PlainOperations = std::function<at::Tensor(const std::vector<at::Tensor>& inputs)>;

// operations(inputs). `inputs` are defined; gradients of those that require one. Nothing random may be in it.
at::Tensor keeping_inputs(const PlainOperations& operations, const std::vector<at::Tensor>& inputs);

}  // namespace ringtron

// When a fused kernel takes a tensor. A CPU build has none: fused_on_gpu() says no.
#pragma once

#include <ATen/core/Tensor.h>

#include <initializer_list>

#include "ringtron/kernels/device/current_stream.h"
#include "ringtron/kernels/device/element.h"

namespace ringtron {

// All tensors (undefined ones aside) are on a GPU, of one element type, and begin at a multiple of 16 bytes or will be
// copied to one by contiguous().
bool fused_on_gpu(std::initializer_list<at::Tensor> tensors);

// Of the GPU of `x`.
int multiprocessors(const at::Tensor& x);

}  // namespace ringtron

// Linear layers whose weight is divided over the tensor-parallel group.
//
// Column parallel divides the outputs, row parallel the inputs; used in that order around attention and MLP, one pair
// costs one collective forward and one backward. The backward starts its communication first and computes the weight
// gradient meanwhile.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/comm/communicator.h"

namespace ringtron {

// y = x W^T + b. weight: [out/tp, in]; bias: [out/tp] or undefined; y: [s, b, out/tp].
// x: [s, b, in], the same on all ranks; with `sequence_parallel` [s/tp, b, in], gathered here. Only the shard is kept
// for the backward, which gathers it again.
at::Tensor column_parallel_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                  Communicator& group, bool sequence_parallel);

// y = x W^T summed over the group, then + b. x: [s, b, in/tp]; weight: [out, in/tp]; bias: [out], the same on all ranks,
// added after the sum, or undefined. y: [s, b, out]; with `sequence_parallel` [s/tp, b, out].
at::Tensor row_parallel_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                               Communicator& group, bool sequence_parallel);

}  // namespace ringtron

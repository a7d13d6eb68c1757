// Output layer and loss together, in chunks of rows: hidden states to the loss of each token without a tensor of all
// logits (as Liger's and others' "fused linear cross entropy").
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "ringtron/comm/communicator.h"
#include "ringtron/tensor_parallel/linear.h"

namespace ringtron {

struct TokenLosses {
  at::Tensor each;          // [s, b], fp32 (fp64 in fp64), outside the graph; the same on all ranks of the group
  at::Tensor weighted_sum;  // sum of each times its weight, one element: what to go backward from
};

// x: [s, b, h], the same on all ranks, or with `sequence_parallel` [s/tp, b, h]; weight: [V/tp, h]; targets: int64 [s,
// b] as of vocab_parallel_cross_entropy; token_weights: [s, b], such as a loss mask, with which the weighted sum is
// taken.
//
// Gradients are made here, in the forward, while the logits of a chunk are there; backward hands out that of x. So
// backward must begin with a gradient of 1, and the weight's share of this micro-batch is added in the forward, but
// told in the backward. With gradients switched off there are losses alone. `logit_bytes`: the most that a chunk's
// logits take; their gradient has the same memory. Per chunk two collectives over `group`; besides the gather of x and
// the sum of its gradient.
TokenLosses linear_cross_entropy(const at::Tensor& x, const LinearWeight& weight, const at::Tensor& targets,
                                 const at::Tensor& token_weights, std::int64_t vocab_size, Communicator& group,
                                 bool sequence_parallel, std::int64_t logit_bytes);

}  // namespace ringtron

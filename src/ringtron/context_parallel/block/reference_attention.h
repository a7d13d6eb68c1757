// Attention of a whole sequence in one process, written to be read: the truth of every test.
//
// Quadratic in memory; every type is computed in fp64. Shares no code with the block attention, the masks or the
// transports: the mask is a matrix of booleans made from the definitions, gradients come from autograd, dropout from
// one random word per probability.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/context_parallel/context_parallel.h"

namespace ringtron {

// q: [s, b, n, d]; k: [s, b, g, d]; v: [s, b, g, d_v]; rows in sequence order. Returns [s, b, n, d_v] in fp64, with
// autograd, also for call.sink. Of call.shape only the documents count: layout and transport change nothing. CPU.
at::Tensor reference_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionCall& call);

}  // namespace ringtron

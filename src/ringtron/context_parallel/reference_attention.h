// Attention of a whole sequence in one process, written to be read: the truth of every test.
//
// Quadratic in memory; every type is computed in fp64. Shares no code with the block attention or the ring: gradients
// come from autograd, dropout from one random word per probability.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/context_parallel/context_parallel.h"

namespace ringtron {

// q: [s, b, n, d]; k, v: [s, b, g, d]; rows in sequence order. Returns [s, b, n, d] in fp64, with autograd. CPU.
at::Tensor reference_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionCall& call);

}  // namespace ringtron

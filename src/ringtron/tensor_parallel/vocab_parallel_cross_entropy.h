// Cross entropy of logits whose vocabulary is divided over the tensor-parallel group: no rank ever sees all logits.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/comm/communicator.h"

namespace ringtron {

// logits: [s, b, V/tp]; targets: int64 [s, b]. Returns the loss of each token [s, b], in fp32 (fp64 for fp64 logits).
// Two collectives forward (maximum; then predicted logit and sum of exponentials together), none backward.
at::Tensor vocab_parallel_cross_entropy(const at::Tensor& logits, const at::Tensor& targets, Communicator& group);

}  // namespace ringtron

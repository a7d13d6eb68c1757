// Cross entropy of logits whose vocabulary is divided over the tensor-parallel group: no rank ever sees all logits.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/comm/communicator.h"

namespace ringtron {

// logits: [s, b, V_pad/tp]; targets: int64 [s, b] in [0, vocab_size). Ids from vocab_size on are padding and take no part
// in the softmax, so that the loss does not depend on how far the group's size makes the vocabulary be padded. Returns the loss of each token [s, b], in fp32 (fp64 for fp64 logits).
// Two collectives forward (maximum; then predicted logit and sum of exponentials together), none backward.
at::Tensor vocab_parallel_cross_entropy(const at::Tensor& logits, const at::Tensor& targets, std::int64_t vocab_size,
                                        Communicator& group);

}  // namespace ringtron

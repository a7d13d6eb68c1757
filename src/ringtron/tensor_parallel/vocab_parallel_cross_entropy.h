// Cross entropy of logits whose vocabulary is divided over the tensor-parallel group: no rank ever sees all
// logits.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/comm/communicator.h"

namespace ringtron {

// logits: [s, b, V_pad/tp]; targets: int64 [s, b] in [0, vocab_size), the same on all ranks. Ids from
// vocab_size on are padding and take no part in the softmax, so that the loss does not depend on how far the
// group's size makes the vocabulary be padded; their gradient is 0. Returns the loss of each token [s, b], in
// fp32 (fp64 for fp64 logits). Targets are not looked at: one outside [0, vocab_size) gives a loss without
// meaning, the data folder refuses them. Two collectives forward (maximum; then predicted logit and sum of
// exponentials together), none backward. Nothing of the logits' size is made beside them, not even
// the gradient, which takes the memory of logits that are no leaf: a graph through this runs backward once.
at::Tensor vocab_parallel_cross_entropy(const at::Tensor& logits, const at::Tensor& targets, std::int64_t vocab_size,
                                        Communicator& group);

}  // namespace ringtron

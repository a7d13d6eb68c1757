// Cross entropy of logits whose vocabulary is divided over the tensor-parallel group: no rank ever sees all
// logits.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/comm/communicator.h"
#include "ringtron/kernels/cross_entropy/cross_entropy.h"

namespace ringtron {

// `each` and `log_sum`: [s, b], fp32 (fp64 for fp64 logits).
struct CrossEntropy {
  at::Tensor each;  // the loss of each token
  // What cross_entropy_gradient() needs beside logits and targets.
  at::Tensor log_sum;
  VocabularyPart part;
};

// logits: [s, b, V_pad/tp]; targets: int64 [s, b] in [0, vocab_size), the same on all ranks. Ids from
// vocab_size on are padding and take no part in the softmax, so that the loss does not depend on how far the
// group's size makes the vocabulary be padded; their gradient is 0. Targets are not looked at: one outside
// [0, vocab_size) gives a loss without meaning, the data folder refuses them. Two collectives (maximum; then predicted
// logit and sum of exponentials together). Nothing of the logits' size is made beside them. Without autograd.
CrossEntropy vocab_parallel_cross_entropy(const at::Tensor& logits, const at::Tensor& targets, std::int64_t vocab_size,
                                          Communicator& group);

}  // namespace ringtron

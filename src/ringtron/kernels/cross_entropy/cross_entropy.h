// Cross entropy over the part of a vocabulary that a rank holds: statistics of each row of logits, and their gradient.
// What is done between ranks is in tensor_parallel/vocab_parallel_cross_entropy.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace ringtron {

// Ids [first, first + real) are on this rank; further columns of the logits are padding, which takes no part.
struct VocabularyPart {
  std::int64_t first = 0;
  std::int64_t real = 0;
};

// Of each row, fp32 (fp64 for fp64), shaped as the targets.
struct RowStatistics {
  at::Tensor peak;       // largest logit; -inf where the rank has none
  at::Tensor sum;        // of exp(logit - peak); 0 where it has none
  at::Tensor predicted;  // logit of the target; 0 where it is another rank's
};

// logits: [..., width]; targets: int64 [...]. Read once by a kernel on a GPU where width is a multiple of 8 and the
// type is not fp64; plain operations on some rows at a time elsewhere, so that no copy of all logits is made.
RowStatistics cross_entropy_statistics(const at::Tensor& logits, const at::Tensor& targets, const VocabularyPart& part);

// (exp(logit - log_sum) - [the target's]) * d_loss, of the logits' type; 0 in padding and where d_loss is 0. `log_sum`
// is the logarithm of the sum of exp(logit) over all ranks. With `in_place` the result may take the memory of `logits`.
at::Tensor cross_entropy_gradient(const at::Tensor& logits, const at::Tensor& targets, const VocabularyPart& part,
                                  const at::Tensor& log_sum, const at::Tensor& d_loss, bool in_place);

}  // namespace ringtron

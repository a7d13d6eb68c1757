#include "ringtron/models/token_loss.h"

#include <ATen/ATen.h>

#include "ringtron/tensor_parallel/vocab_parallel_cross_entropy.h"

namespace ringtron {

at::Tensor TokenLoss::forward(const at::Tensor& logits, const at::Tensor& labels) const {
  return vocab_parallel_cross_entropy(logits, labels.t().contiguous(), vocabulary_, group_);
}

}  // namespace ringtron

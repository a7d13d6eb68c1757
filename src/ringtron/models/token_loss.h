// The loss of each token from a model's logits: cross entropy over the vocabulary, which the tensor ranks
// share.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/comm/communicator.h"

namespace ringtron {

class TokenLoss {
 public:
  // `tensor_group` outlives it. `vocabulary`: without padding, which no token can be.
  TokenLoss(Communicator& tensor_group, std::int64_t vocabulary) : group_(tensor_group), vocabulary_(vocabulary) {}

  // logits: [s_cp, b, V/tp]; labels: int64 [b, s_cp]. Returns [s_cp, b], fp32 (fp64 in fp64), the same on all
  // ranks of the tensor group. Collective over it.
  at::Tensor forward(const at::Tensor& logits, const at::Tensor& labels) const;

 private:
  Communicator& group_;
  std::int64_t vocabulary_;
};

}  // namespace ringtron

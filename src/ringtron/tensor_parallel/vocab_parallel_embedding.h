// Word embedding whose rows (the vocabulary) are divided over the tensor-parallel group.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/comm/communicator.h"

namespace ringtron {

// tokens: int64 [b, s]; weight: [V/tp, h], rows [rank V/tp, (rank + 1) V/tp) of the whole table. Returns [s, b, h];
// with `to_sequence_region` [s/tp, b, h].
at::Tensor vocab_parallel_embedding(const at::Tensor& tokens, const at::Tensor& weight, Communicator& group,
                                    bool to_sequence_region);

}  // namespace ringtron

// Word embedding whose rows (the vocabulary) are divided over the tensor-parallel group.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/comm/communicator.h"
#include "ringtron/tensor_parallel/linear.h"

namespace ringtron {

// tokens: int64 [b, s]; weight: [V/tp, h], rows [rank V/tp, (rank + 1) V/tp) of the whole table; of a parameter the
// gradient goes straight into its sum. Returns [s, b, h]; with `to_sequence_region` [s/tp, b, h].
at::Tensor vocab_parallel_embedding(const at::Tensor& tokens, const LinearWeight& weight, Communicator& group,
                                    bool to_sequence_region);

}  // namespace ringtron

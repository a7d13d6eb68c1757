// Rows of a table by their numbers.
#pragma once

#include <ATen/core/Tensor.h>

namespace ringtron {

// weight: [rows, h]; ids: int64 of any shape, each in [0, rows). Returns [..., h]. A row's gradient is the sum over all
// ids that ask for it, in fp32 (fp64 for fp64), rounded to the weight's type once.
at::Tensor embedding_lookup(const at::Tensor& weight, const at::Tensor& ids);

}  // namespace ringtron

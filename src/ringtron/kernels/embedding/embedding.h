// Rows of a table by their numbers.
#pragma once

#include <ATen/core/Tensor.h>

namespace ringtron {

// weight: [rows, h]; ids: int64 of any shape, each in [0, rows). Returns [..., h]. A row's gradient is the sum over all
// ids that ask for it, in fp32 (fp64 for fp64), rounded to the weight's type once.
at::Tensor embedding_lookup(const at::Tensor& weight, const at::Tensor& ids);

// The same gradient, added to a sum: dy[i] to row ids[i] of `gradient` [rows, h], which is fp32 (fp64 for fp64) and
// contiguous; where no sum has `begun` it is written over. dy: [..., h]; ids: int64 of dy's other dims; one outside of
// [0, rows) adds nothing. The same bits each time. On a GPU rows that no id asks for are not touched, and dy is read
// once.
void add_embedding_gradient(const at::Tensor& gradient, bool begun, const at::Tensor& dy, const at::Tensor& ids);

}  // namespace ringtron

// What a pass over a transformer block gave, and the comparison of two of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace ringtron {

// As one process would hold it, on the host.
struct BlockRun {
  at::Tensor out, input_gradient;                             // [s, b, h]
  std::vector<std::pair<std::string, at::Tensor>> gradients;  // by parameter
  std::int64_t local_rows = 0;
};

// Whether no value differs by more than `tolerance` times the largest value of its kind: output, gradient of
// the input, gradients of the parameters. A NaN or infinite value anywhere, in either, is a difference.
// Prints a line for each kind. Both have the same parameters.
bool same_block_runs(const BlockRun& got, const BlockRun& expected, double tolerance);

}  // namespace ringtron

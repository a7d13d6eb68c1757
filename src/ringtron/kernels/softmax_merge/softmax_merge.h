// Merges two attention results over disjoint keys into the result over both.
//
// With out_i normalised within part i and lse_i the log-sum-exp of its scores,
//   lse = log(exp(lse_a) + exp(lse_b)),  out = out_a exp(lse_a - lse) + out_b exp(lse_b - lse).
// Computed in fp32 (fp64 for fp64) whatever types the parts have, and rounded once to that of the result. A part
// without keys has lse -inf and adds nothing, whatever its out holds; two such parts give 0 and -inf, not NaN.
// (Blockwise softmax: Rabe and Staats, arXiv:2112.05682, section 3; FlashAttention, arXiv:2205.14135, algorithm 1.)
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace ringtron {

struct SoftmaxPart {
  at::Tensor out;              // [rows, b, n, d], any strides
  at::Tensor lse;              // [b, n, rows], fp32 (fp64 with fp64), any strides
  std::int64_t first_row = 0;  // which row of the whole is its row 0
};

// whole = a merged with b. `a` covers every row of `whole`, which may be `a` itself; `b` covers some of them. One fused
// kernel on a GPU where d is a multiple of 8 and memory is aligned to 16 bytes, otherwise plain operations.
void merge_parts(SoftmaxPart& whole, const SoftmaxPart& a, const SoftmaxPart& b);

// The same on the CPU's operations, in place and for parts of equal rows: the truth that the kernel is compared with.
void softmax_merge(at::Tensor& out, at::Tensor& lse, const at::Tensor& part_out, const at::Tensor& part_lse);

}  // namespace ringtron

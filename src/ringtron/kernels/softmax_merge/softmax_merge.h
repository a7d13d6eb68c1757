// Merges attention results over disjoint keys into the result over all of them.
//
// With out_i normalised within part i and lse_i the log-sum-exp of its scores,
//   lse = log(sum of exp(lse_i)),  out = sum of out_i exp(lse_i - lse).
// Computed in fp32 (fp64 for fp64) whatever types the parts have, and rounded once to that of the result. A part
// without keys has lse -inf and adds nothing, whatever its out holds; rows that no part covers get 0 and -inf, not NaN.
// (Blockwise softmax: Rabe and Staats, arXiv:2112.05682, section 3; FlashAttention, arXiv:2205.14135, algorithm 1.)
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace ringtron {

struct SoftmaxPart {
  at::Tensor out;              // [rows, b, n, d], any strides
  at::Tensor lse;              // [b, n, rows], fp32 (fp64 with fp64), any strides
  std::int64_t first_row = 0;  // which row of the whole is its row 0
};

inline constexpr std::size_t kMostMerged = 4;  // parts of one call

// whole = the parts merged in the order given; each covers some of its rows. `whole` may be the first of them, if that
// covers all rows. One fused kernel on a GPU where d is a multiple of 8 and memory is aligned to 16 bytes, otherwise
// plain operations.
void merge_parts(SoftmaxPart& whole, std::span<const SoftmaxPart> parts);

// Two parts of equal rows by plain operations, in place: the truth that the kernel is compared with.
void softmax_merge(at::Tensor& out, at::Tensor& lse, const at::Tensor& part_out, const at::Tensor& part_lse);

}  // namespace ringtron

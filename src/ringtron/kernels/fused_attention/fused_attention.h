// Attention of one block of queries to one block of keys and values on the GPU by kernels of our own, for what others'
// fused kernels do not do: any band, dropout whose mask is a function of global positions, gradients with the same bits
// each time, results in fp32. Where none of that matters cuDNN is faster (kernels/attention/cudnn_attention.h).
//
// Letters: s_q, s_kv rows, b batch, n query heads, g key/value heads (n a multiple of g; query head h uses key/value
// head h / (n/g)), d head size, d_v that of values. Everything is sequence-first:
//   q [s_q, b, n, d]   k [s_kv, b, g, d]   v [s_kv, b, g, d_v]   d_out [s_q, b, n, d_v]   all bf16 or all fp16
//   out as d_out, dq, dk, dv as q, k, v: contiguous fp32           lse, delta [b, n, s_q] fp32
// Row i of q sees rows i - left .. i + right of k. Scores and sums are fp32, probabilities and their gradients are
// rounded to the type of q before they are multiplied. Works on the current CUDA stream, does not wait for it, keeps
// nothing. A CPU build has the same interface: fused_attention_supports() says no, everything else throws
// InternalError.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace ringtron {

// Probability (sample, head, query, key) is dropped, or divided by 1 - p, by the bits that
// context_parallel/block/attention_dropout.h defines. Tensors are int64 on the device of q.
struct FusedDropout {
  double p = 0.0;
  std::uint64_t key = 0;
  at::Tensor samples;            // [b]: number of each sample in the run
  std::int64_t head_offset = 0;  // global number of head 0
  at::Tensor queries, keys;      // [s_q], [s_kv]: global position of each row
  // Rows 8i .. 8i + 7 of k have positions 8j .. 8j + 7, as far as there are such rows: eight times fewer random
  // numbers.
  bool keys_in_blocks = false;
};

struct FusedAttentionOptions {
  double scale = 1.0;  // of the scores, before the softmax; above 0
  std::int64_t left = 0, right = 0;
  const FusedDropout* dropout = nullptr;  // null: none. Not owned.
};

struct FusedAttentionResult {
  at::Tensor out;  // normalised; 0 where a row sees no key
  at::Tensor lse;  // log-sum-exp of the undropped scores; -inf where a row sees no key
};

struct FusedAttentionGradient {
  at::Tensor dq, dk, dv;
};

// Whether these kernels can compute a block: head sizes of up to 128 that are multiples of 8, rows and heads that begin
// at multiples of 16 bytes, s_q and s_kv above 0, all on one GPU with enough shared memory (163 KB a block; 83 KB for
// head sizes up to 64). Looks at shapes, types, strides and devices only.
bool fused_attention_supports(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

// The rest must satisfy fused_attention_supports(); else InternalError.
FusedAttentionResult fused_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                     const FusedAttentionOptions& options);

// This block's share of the gradients; the shares of all blocks add up. lse: of the final output over all blocks;
// delta: row sums of d_out * that output.
FusedAttentionGradient fused_attention_backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                                const at::Tensor& d_out, const at::Tensor& lse, const at::Tensor& delta,
                                                const FusedAttentionOptions& options);

}  // namespace ringtron

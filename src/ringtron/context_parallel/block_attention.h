// Attention of one block of queries to one block of keys and values: the only place that calls an attention
// kernel.
//
// Letters: s_q, s_kv rows, b batch, n query heads, g key/value heads (n a multiple of g; query head h uses
// key/value head h / (n/g)), d head size. Everything is sequence-first:
//   q, out, d_out [s_q, b, n, d]   k, v [s_kv, b, g, d]   lse, delta [b, n, s_q]
// The accumulate type of fp64 is fp64, of every other type fp32.
// Implementations have no state that changes results; calls from several threads need no lock.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>

#include "ringtron/context_parallel/attention_dropout.h"
#include "ringtron/context_parallel/sequence_layout.h"

namespace ringtron {

struct BlockCall {
  double scale = 1.0;                         // of the scores, before the softmax
  bool causal = false;                        // row i of q sees rows 0..i of k; needs s_q == s_kv
  const AttentionDropout* dropout = nullptr;  // null: none. Not owned.
  // Global positions of the rows, for dropout only.
  std::span<const PositionRange> q_positions = {};
  std::span<const PositionRange> kv_positions = {};
};

struct BlockResult {
  at::Tensor out;  // normalised within the block; the type of q or the accumulate type; any strides
  at::Tensor lse;  // log-sum-exp of the undropped scores, accumulate type; -inf where a row sees no key
};

// What the backward knows of a block of queries: the final output and log-sum-exp, merged over all blocks.
struct OutputGradient {
  at::Tensor d_out;
  at::Tensor out;
  at::Tensor lse;
  at::Tensor delta;  // row sums of d_out * out, accumulate type; computed once for all blocks
};

struct BlockGradient {
  at::Tensor dq, dk, dv;  // shapes of q, k, v; the type of q or the accumulate type; any strides
};

class BlockAttention {
 public:
  virtual ~BlockAttention() = default;
  virtual BlockResult forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const BlockCall& call) const = 0;
  // This block's share of the gradients; the shares of all blocks add up.
  virtual BlockGradient backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const OutputGradient& output, const BlockCall& call) const = 0;
};

// Composed of plain tensor operations, on any device, in any type, with dropout; computes in the accumulate
// type. The fp64 case is the truth that other implementations are compared with. Works in tiles of query rows
// whose scores stay under `tile_bytes`.
std::unique_ptr<BlockAttention> make_composed_block_attention(std::int64_t tile_bytes = std::int64_t{64}
                                                                                        << 20);

// ATen's fused CPU kernel; fp64, fp32 and bf16, no dropout.
std::unique_ptr<BlockAttention> make_flash_cpu_block_attention();

// cuDNN's fused GPU kernels; bf16, no dropout, composed where cuDNN refuses. Partial results come in bf16. Without
// `deterministic`, dq may differ in its last bits from run to run. Throws ConfigError in a CPU build.
std::unique_ptr<BlockAttention> make_cudnn_block_attention(bool deterministic);

// The fastest one that can do it. The one place that chooses.
std::unique_ptr<BlockAttention> make_block_attention(c10::DeviceType device, at::ScalarType type, bool dropout,
                                                     bool deterministic = false);

at::ScalarType accumulate_type(at::ScalarType type);

}  // namespace ringtron

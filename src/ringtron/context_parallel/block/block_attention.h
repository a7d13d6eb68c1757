// Attention of one block of queries to one block of keys and values: the only place that calls an attention kernel.
//
// Letters: s_q, s_kv rows, b batch, n query heads, g key/value heads (n a multiple of g; query head h uses
// key/value head h / (n/g)), d head size. Everything is sequence-first:
//   q [s_q, b, n, d]   k [s_kv, b, g, d]   v [s_kv, b, g, d_v]   out, d_out [s_q, b, n, d_v]   lse, delta [b, n, s_q]
// s_q, s_kv and d_v may differ from each other and from d; s_q and s_kv may be 0. All in one type. The accumulate type
// of fp64 is fp64, of every other type fp32. Implementations have no state that changes results; calls from several
// threads need no lock.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>

#include "ringtron/context_parallel/block/attention_dropout.h"
#include "ringtron/context_parallel/block/varlen_attention.h"
#include "ringtron/context_parallel/plan/attention_mask.h"
#include "ringtron/context_parallel/plan/sequence_layout.h"

namespace ringtron {

struct BlockGradient {
  at::Tensor dq, dk, dv;  // shapes of q, k, v; the type of q or the accumulate type; any strides
};

struct BlockCall {
  double scale = 1.0;                         // of the scores, before the softmax
  Band band = {};                             // which rows of k each row of q sees; rows may see none
  const AttentionDropout* dropout = nullptr;  // null: none. Not owned.
  // Global positions of the rows, for dropout only.
  std::span<const PositionRange> q_positions = {};
  std::span<const PositionRange> kv_positions = {};
  // Tiles of documents: shapes that seldom come again, for which building a plan is not worth it.
  bool varied_shapes = false;
};

struct BlockResult {
  // Normalised within the block, 0 where a row sees no key; the type of q or the accumulate type; any strides.
  at::Tensor out;
  at::Tensor lse;  // log-sum-exp of the undropped scores, accumulate type; -inf where a row sees no key
};

// What the backward knows of a block of queries: the final output and log-sum-exp, merged over all blocks.
struct OutputGradient {
  at::Tensor d_out;
  at::Tensor out;
  at::Tensor lse;
  // Row sums of d_out * out, accumulate type; computed once for all blocks. May be undefined where the kernel does not
  // want it: who needs it all the same computes it.
  at::Tensor delta;
};

class BlockAttention {
 public:
  virtual ~BlockAttention() = default;
  virtual BlockResult forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const BlockCall& call) const = 0;
  // This block's share of the gradients; the shares of all blocks add up.
  virtual BlockGradient backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const OutputGradient& output, const BlockCall& call) const = 0;
  // Whether backward() is faster when it is given OutputGradient::delta.
  virtual bool wants_delta() const { return true; }
  // The same kernels over many tiles at once; null: this one cannot. Lives as long as this.
  virtual const VarlenAttention* varlen() const { return nullptr; }
};

// Composed of plain tensor operations, on any device, in any type, with any band and dropout; computes in the
// accumulate type. The fp64 case is the truth that other implementations are compared with. Works in tiles of query
// rows, each against only the keys that it sees; the scores of a tile stay under `tile_bytes` (or are one row's).
std::unique_ptr<BlockAttention> make_composed_block_attention(std::int64_t tile_bytes = std::int64_t{64} << 20);

// ATen's fused CPU kernel; fp64, fp32 and bf16. What it cannot do (dropout, bands with a left bound, d_v other than d)
// the composed one does.
std::unique_ptr<BlockAttention> make_flash_cpu_block_attention();

// ATen's FlashAttention-2 on a GPU; bf16 and fp16, any band; composed for dropout and odd head sizes. Results come in
// the type of q; dq may differ in its last bits from run to run.
std::unique_ptr<BlockAttention> make_flash_cuda_block_attention();

// Our own fused GPU kernels; bf16 and fp16, any band, with and without dropout; composed for head sizes above 128 and
// those that 8 does not divide. Results come in fp32, with the same bits each time. Composed throughout in a CPU build.
std::unique_ptr<BlockAttention> make_fused_cuda_block_attention();

// cuDNN's fused GPU kernels; bf16 and fp16, no dropout, all cells or a causal square; FlashAttention for everything
// else, where cuDNN refuses, and for varied shapes (each new shape costs a plan of 40-60 ms) that do not come in
// batches of tiles. Results come in the type of q. Without `deterministic`, dq may differ in its last bits from run to
// run; with it, windows and the backward of documents are done by our own kernels. Throws ConfigError in a CPU build.
std::unique_ptr<BlockAttention> make_cudnn_block_attention(bool deterministic);

// The fastest one that can do it. The one place that chooses.
std::unique_ptr<BlockAttention> make_block_attention(c10::DeviceType device, at::ScalarType type, bool dropout,
                                                     bool deterministic = false);

at::ScalarType accumulate_type(at::ScalarType type);

// OutputGradient::delta.
at::Tensor row_sums(const at::Tensor& d_out, const at::Tensor& out);

}  // namespace ringtron

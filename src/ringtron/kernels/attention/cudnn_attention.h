// Attention of one block of queries to one block of keys and values on the GPU, by cuDNN's fused kernels, with the
// log-sum-exp that a merge of blocks needs.
//
// Letters: s_q, s_kv rows, b batch, n query heads, g key/value heads (n a multiple of g; query head h uses key/value
// head h / (n/g)), d head size. Everything is sequence-first, as the model keeps it; cuDNN is told the strides, so
// nothing is transposed:
//   q, out, d_out [s_q, b, n, d]   k, v [s_kv, b, g, d]   all bf16 or all fp16, any strides whose last is 1
//   lse [b, n, s_q] fp32: natural logarithm of the sum of exp(scale * q.k)
// out, dq, dk and dv have the type of q and are contiguous unless room is given for them. cuDNN writes no other (asked
// for fp32 it may fill the buffer with bf16 bits), so a caller that adds up blocks widens first, and should give fp16:
// its results carry three more bits.
//
// A CPU build has the same interface: cudnn_attention_supports() says no, everything else throws ConfigError.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

namespace ringtron {

struct CudnnAttentionOptions {
  double scale = 1.0;   // of the scores, before the softmax
  bool causal = false;  // row i of q sees rows 0..i of k; needs s_q == s_kv
  // Backward only: the same bits each time. Needs workspace that grows as b * n * s_q * s_kv (4.4 GB for 32 heads and
  // 8192 rows). Without it dq may differ in its last bits from run to run.
  bool deterministic = false;
};

struct CudnnAttentionResult {
  at::Tensor out;
  at::Tensor lse;
};

// What the backward knows of the queries: the final output and log-sum-exp, merged over all blocks of keys.
struct CudnnAttentionOutput {
  at::Tensor d_out;
  at::Tensor out;  // the type of q
  at::Tensor lse;  // fp32; finite
};

struct CudnnAttentionGradient {
  at::Tensor dq, dk, dv;
};

// Whether CudnnAttention can compute this block, forward and backward. If not, `reason` (unless null) says why. Looks
// at shapes, types and devices only.
bool cudnn_attention_supports(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal,
                              std::string* reason = nullptr);

// Owns a cuDNN handle and one plan for each shape it has met: 0.5-0.9 s for the first of a kind, 40-60 ms for another
// shape, microseconds after that. Serves the one device of its first call. Works on the current CUDA stream and does
// not wait for it; workspace comes from LibTorch's caching allocator. Calls from several threads need a lock. Throws
// ConfigError where cuDNN cannot be started or has no plan; inputs must satisfy cudnn_attention_supports().
class CudnnAttention {
 public:
  CudnnAttention();
  ~CudnnAttention();
  CudnnAttention(const CudnnAttention&) = delete;
  CudnnAttention& operator=(const CudnnAttention&) = delete;

  CudnnAttentionResult forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const CudnnAttentionOptions& options);

  // This block's share of the gradients; the shares of all blocks add up. `room`: where they go, shaped and aligned as
  // q, k and v, last stride 1: some heads of larger tensors, say; undefined: into new tensors.
  CudnnAttentionGradient backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                  const CudnnAttentionOutput& output, const CudnnAttentionOptions& options,
                                  CudnnAttentionGradient room = {});

  // Shapes met so far, forward and backward counted apart. For tests.
  std::size_t plans() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ringtron

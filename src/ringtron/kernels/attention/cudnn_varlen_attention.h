// Attention of many tiles of one tensor of queries against one of keys and values in a few cuDNN calls: packed
// documents on the GPU at the speed of fused kernels.
//
// Letters, shapes and strides as in cudnn_attention.h, in bf16 or fp16 (the type of q): q, out, d_out [s_q, b, n, d],
// k, v [s_kv, b, g, d], lse [b, n, s_q] fp32. A tile is rows of q against rows of k and v in one sample; no two tiles
// of a sample share a row of either. Where tiles lie is data on the device, so plans that cuDNN has built serve any
// packing. There is no deterministic backward: cuDNN's needs workspace that grows with the square of the longest tile
// times the number of tiles (80 GB for 8 documents of 32k tokens), so who asks for one needs other kernels. Without it
// dq may differ in its last bits from run to run.
//
// A CPU build has the same interface: cudnn_varlen_attention_supports() says no, everything else throws ConfigError.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ringtron/kernels/attention/cudnn_attention.h"
#include "ringtron/kernels/attention/varlen_tables.h"

namespace ringtron {

// Whether tensors of these types, heads and samples can be computed; rows are not looked at. If not, `reason` (unless
// null) says why.
bool cudnn_varlen_attention_supports(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                     std::string* reason = nullptr);

// The tables of a varlen batch, on the device. A value; made once and used by all layers.
struct UploadedTables {
  struct Group {
    std::int64_t longest, capacity;
    std::int64_t first_word;  // in `words`, see VarlenTables
  };
  VarlenShape shape;
  bool causal = false;  // tiles are squares whose row i sees keys 0..i; otherwise every cell is seen
  bool covers_q = false, covers_kv = false;  // every row is in a tile
  std::vector<Group> groups;
  at::Tensor words;
};

// Tables of tiles of tensors like q and k. Queues one copy on the current stream and waits for nothing.
UploadedTables upload_varlen_tables(std::vector<SampleTile> tiles, bool causal, const at::Tensor& q,
                                    const at::Tensor& k);

// Owns a cuDNN handle and the plans that it has built: one per pass, kind of mask, heads, type, size class of tiles and
// number of them: 0.5-0.9 s for the first of a kind, 40-60 ms for another class. Device, streams and threads as
// CudnnAttention.
class CudnnVarlenAttention {
 public:
  CudnnVarlenAttention();
  ~CudnnVarlenAttention();
  CudnnVarlenAttention(const CudnnVarlenAttention&) = delete;
  CudnnVarlenAttention& operator=(const CudnnVarlenAttention&) = delete;

  // out is 0 and lse -inf in rows that no tile has.
  CudnnAttentionResult forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const UploadedTables& tiles, double scale);

  // The tiles' share of the gradients, from the final output and log-sum-exp; 0 in rows that no tile has.
  CudnnAttentionGradient backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                  const CudnnAttentionOutput& output, const UploadedTables& tiles, double scale);

  // Plans built so far. For tests.
  std::size_t plans() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ringtron

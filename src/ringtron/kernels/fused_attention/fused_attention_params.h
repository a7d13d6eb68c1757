// What the host tells the fused attention kernels. All pointers are to device memory; strides in elements.
#pragma once

#include <cstdint>

#include "ringtron/kernels/attention_dropout/attention_dropout_words.h"
#include "ringtron/kernels/device/element_type.h"

namespace ringtron {

// [rows, b, heads, size] of 16-bit numbers; size contiguous, rows and heads at multiples of 16 bytes.
struct AttentionRows {
  const void* data;
  std::int64_t row_stride, sample_stride, head_stride;
};

// What the kernels find of a query once for all keys.
struct alignas(16) QueryRow {
  QueryPart part;  // with dropout
  float lse;       // backward: that probabilities, divided by 1 - p, are 2^(scale log2(e) score - lse); +inf: all 0
  float delta;     // backward: delta, times 1 - p
};

struct FusedAttentionParams {
  AttentionRows q, k, v, d_out;
  Element type;  // of these four: f16 or bf16
  int s_q, s_kv, batch, heads, groups;
  int key_size, value_size;
  float scale;
  int left, right;  // row i sees keys i - left .. i + right

  float* out;           // [s_q, b, n, d_v]; forward
  float* lse;           // [b, n, s_q]; written by the forward, read by the backward
  const float* delta;   // [b, n, s_q]; backward
  float *dq, *dk, *dv;  // contiguous; backward

  // Written first, on the same stream: [b, n, query_rows()], and with dropout [b, n, key_blocks()].
  QueryRow* query_rows;
  BlockPart* key_blocks;

  bool drops;
  // Eight keys from a multiple of eight on, by row of k, have one random block, and halves of its words may be compared
  // with the threshold as numbers of type f16.
  bool blocks;
  const std::int64_t *samples, *query_positions, *key_positions;  // [b], [s_q], [s_kv]
  std::int64_t head_offset;
  std::uint64_t dropout_key;
  std::uint32_t threshold;  // dropout_threshold(p)
  float keep;               // dropout_keep(threshold); 1 without dropout
};

// Heads' rows of FusedAttentionParams::query_rows and key_blocks: whole tiles of 64.
RT_HOST_DEVICE inline std::int64_t query_rows(int s_q) { return (static_cast<std::int64_t>(s_q) + 63) / 64 * 64; }
RT_HOST_DEVICE inline std::int64_t key_blocks(int s_kv) { return (static_cast<std::int64_t>(s_kv) + 63) / 64 * 8; }

// Return a cudaError_t: of the first launch that failed, or 0. The first writes query_rows and key_blocks; the forward
// needs them with dropout, the backward always.
int fused_attention_prepare_cuda(const FusedAttentionParams& params, void* stream);
int fused_attention_forward_cuda(const FusedAttentionParams& params, void* stream);
int fused_attention_backward_cuda(const FusedAttentionParams& params, void* stream);

// Shared memory that a block of threads needs, at least, for heads of this size.
int fused_attention_forward_bytes(int head_size);
int fused_attention_backward_bytes(int head_size);

}  // namespace ringtron

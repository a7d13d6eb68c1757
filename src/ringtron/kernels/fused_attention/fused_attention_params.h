// What the host tells the fused attention kernels. All pointers are to device memory; strides in elements.
#pragma once

#include <cstdint>

#include "ringtron/kernels/device/element_type.h"

namespace ringtron {

// [rows, b, heads, size] of 16-bit numbers; size contiguous, rows and heads at multiples of 16 bytes.
struct AttentionRows {
  const void* data;
  std::int64_t row_stride, sample_stride, head_stride;
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

  bool drops;
  bool blocks;  // eight keys from a multiple of eight on, by row of k, have one random block
  const std::int64_t *samples, *query_positions, *key_positions;  // [b], [s_q], [s_kv]
  std::int64_t head_offset;
  std::uint64_t dropout_key;
  std::uint32_t threshold;  // dropout_threshold(p)
  float keep;               // dropout_keep(threshold); 1 without dropout
};

// Return a cudaError_t: of the first launch that failed, or 0.
int fused_attention_forward_cuda(const FusedAttentionParams& params, void* stream);
int fused_attention_backward_cuda(const FusedAttentionParams& params, void* stream);

// Shared memory that a block of threads of these needs, at most, for heads of this size.
int fused_attention_shared_bytes(int head_size);

}  // namespace ringtron

// Query, key and value heads out of the output of their common projection, with q/k norm and rotary positions where
// these are used.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/kernels/norm/norm.h"
#include "ringtron/kernels/rotary/rotary.h"

namespace ringtron {

struct QkvHeads {
  at::Tensor q;     // [s, b, groups * queries, d]
  at::Tensor k, v;  // [s, b, groups, d]
};

// Norms of each query and key head before it is rotated (--qk-layernorm); their weights are [d].
struct QkNorms {
  NormWeights q, k;
};

// `qkv`: [s, b, groups * (queries + 2) * d], of each group its query heads, then its key, then its value. With a table
// q and k are rotated as apply_rotary does. All results are contiguous; nothing but the table is kept for the backward,
// with norms their inputs too. On a GPU one kernel each way, where d and the turned channels are multiples of 16, the
// table is fp32 and the type is not fp64; with norms where these are RMSNorm and d is a power of 2 up to 512.
QkvHeads split_qkv(const at::Tensor& qkv, std::int64_t groups, std::int64_t queries, const RotaryTable& table,
                   bool interleaved, const QkNorms* norms = nullptr);

}  // namespace ringtron

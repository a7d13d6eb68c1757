// Query, key and value heads out of the output of their common projection, rotated where rotary positions are used.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/kernels/rotary/rotary.h"

namespace ringtron {

struct QkvHeads {
  at::Tensor q;     // [s, b, groups * queries, d]
  at::Tensor k, v;  // [s, b, groups, d]
};

// `qkv`: [s, b, groups * (queries + 2) * d], of each group its query heads, then its key, then its value. With a table
// q and k are rotated as apply_rotary does. All results are contiguous; nothing but the table is kept for the backward.
// On a GPU one kernel each way, where d and the turned channels are multiples of 16, the table is fp32 and the type is
// not fp64.
QkvHeads split_qkv(const at::Tensor& qkv, std::int64_t groups, std::int64_t queries, const RotaryTable& table,
                   bool interleaved);

}  // namespace ringtron

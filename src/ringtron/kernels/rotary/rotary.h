// Rotary position embedding: Su et al., arXiv:2104.09864, eq. 34, with the frequency scalings of Llama 3
// and of YaRN.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/kernels/rotary/rotary_options.h"

namespace ringtron {

// Cosines and sines for positions: int64 [s, b], or [s, 1] when all samples of the batch share them.
struct RotaryTable {
  at::Tensor cos, sin;  // [s, b or 1, 1, rotated channels], fp32 (fp64 when asked); times YaRN's amplitude
};
RotaryTable rotary_table(const at::Tensor& positions, const RotaryOptions& options, at::ScalarType type);

// x: [s, b, n, d]; rotated in the table's type, returned in x's. Channels beyond the rotated ones pass through.
at::Tensor apply_rotary(const at::Tensor& x, const RotaryTable& table, bool interleaved);

}  // namespace ringtron

// Rotary position embedding: Su et al., arXiv:2104.09864, eq. 34, with the frequency scaling of Llama 3.
#pragma once

#include <ATen/core/Tensor.h>

namespace ringtron {

struct RotaryOptions {
  int head_dim = 0;
  double percent = 1.0;          // share of the head's channels that turn, from the first
  double base = 10000.0;
  bool interleaved = false;      // pairs are (2i, 2i+1) instead of (i, i + dim/2)
  double interpolation = 0.0;    // positions are divided by it; 0: not
  bool llama3_scaling = false;   // low 1, high 4, original length 8192
  double llama3_factor = 8.0;
};

// Cosines and sines for positions: int64 [s, b], or [s, 1] when all samples of the batch share them.
struct RotaryTable {
  at::Tensor cos, sin;  // [s, b or 1, 1, turned channels], fp32 (fp64 when asked)
};
RotaryTable rotary_table(const at::Tensor& positions, const RotaryOptions& options, at::ScalarType type);

// x: [s, b, n, d]; turned in the table's type, returned in x's. Channels beyond the turned ones pass through.
at::Tensor apply_rotary(const at::Tensor& x, const RotaryTable& table, bool interleaved);

}  // namespace ringtron

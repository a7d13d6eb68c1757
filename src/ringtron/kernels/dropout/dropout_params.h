// What the host tells the dropout kernels.
#pragma once

#include <cstdint>

namespace ringtron {

enum class DropoutType { f64, f32, f16, bf16 };

struct DropoutParams {
  const void* x;                  // [rows, batch, width]
  void* y;                        // [rows, batch, width]
  const std::int64_t* positions;  // [rows]
  const std::int64_t* samples;    // [batch]
  std::int64_t rows, batch, width;
  std::uint64_t key;
  std::uint32_t threshold;  // kept when word >= threshold
  double scale;             // 1 / (1 - p)
};

void dropout_cpu(const DropoutParams& params, DropoutType type);
void dropout_cuda(const DropoutParams& params, DropoutType type, void* stream);

}  // namespace ringtron

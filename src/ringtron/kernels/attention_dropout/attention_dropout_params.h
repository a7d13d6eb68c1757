// What the host tells the attention dropout kernel.
#pragma once

#include <cstdint>

namespace ringtron {

// All pointers are to device memory.
struct AttentionDropoutParams {
  void* factors;                // [batch, heads, rows, columns]
  const std::int64_t* samples;  // [batch]
  const std::int64_t* queries;  // [rows]: global position of each row
  const std::int64_t* keys;     // [columns]: global position of each column
  std::int64_t batch, heads, rows, columns;
  std::int64_t head_offset;
  std::uint64_t key;
  std::uint32_t threshold;  // dropout_threshold(p)
  double keep;              // dropout_keep(threshold)
};

void attention_dropout_cuda(const AttentionDropoutParams& params, bool fp64, void* stream);

}  // namespace ringtron

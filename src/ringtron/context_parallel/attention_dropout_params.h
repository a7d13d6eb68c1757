// What the host tells the attention dropout kernel, and where each element's word stands.
#pragma once

#include <cstdint>

#include "ringtron/base/random.h"

namespace ringtron {

// Words below this are dropped.
inline std::uint64_t dropout_threshold(double p) { return static_cast<std::uint64_t>(p * 4294967296.0); }

RT_HOST_DEVICE inline std::uint64_t attention_dropout_stream(std::int64_t sample, std::int64_t head) {
  return (static_cast<std::uint64_t>(sample) << 20) | static_cast<std::uint64_t>(head);
}

RT_HOST_DEVICE inline PhiloxBlock attention_dropout_words(std::uint64_t key, std::uint64_t stream, std::int64_t query,
                                                          std::int64_t key_block) {
  return philox4x32(key, stream, (static_cast<std::uint64_t>(query) << 32) | static_cast<std::uint64_t>(key_block));
}

// All pointers are to device memory.
struct AttentionDropoutParams {
  void* factors;                    // [batch, heads, rows, columns]
  const std::int64_t* samples;      // [batch]
  const std::int64_t* queries;      // [rows]: global position of each row
  const std::int64_t* keys;         // [columns]: global position of each column
  std::int64_t batch, heads, rows, columns;
  std::int64_t head_offset;
  std::uint64_t key, threshold;
  double keep;                      // 1 / (1 - p)
};

void attention_dropout_cuda(const AttentionDropoutParams& params, bool fp64, void* stream);

}  // namespace ringtron

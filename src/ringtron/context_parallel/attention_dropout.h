// Dropout of attention probabilities that does not depend on how the work is divided.
//
// Probability (sample, head, query position, key position) is dropped when its 32-bit Philox word is below p * 2^32.
// The word is a pure function of (key, sample number, global head, global query position, global key position): stream
// sample * 2^20 + head, block query * 2^32 + key / 4, word key % 4. So no layout of processes changes it, and nothing is
// kept for the backward.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "ringtron/base/random.h"
#include "ringtron/context_parallel/sequence_layout.h"

namespace ringtron {

struct AttentionDropout {
  double p = 0.0;                            // in [0, 1)
  std::uint64_t key = 0;                     // mixed from seed, step and layer
  std::vector<std::int64_t> sample_numbers;  // [b]: number of each sample in the whole run, below 2^44
  std::int64_t head_offset = 0;              // global number of this rank's first query head; heads below 2^20
};

// Words below this are dropped.
inline std::uint64_t dropout_threshold(double p) { return static_cast<std::uint64_t>(p * 4294967296.0); }

inline std::uint64_t attention_dropout_stream(std::int64_t sample, std::int64_t head) {
  return (static_cast<std::uint64_t>(sample) << 20) | static_cast<std::uint64_t>(head);
}

inline PhiloxBlock attention_dropout_words(std::uint64_t key, std::uint64_t stream, std::int64_t query,
                                           std::int64_t key_block) {
  return philox4x32(key, stream, (static_cast<std::uint64_t>(query) << 32) | static_cast<std::uint64_t>(key_block));
}

// What the probabilities are multiplied with: [b, heads, queries, keys] of `type` on the CPU, 0 where dropped and
// 1 / (1 - p) elsewhere. `queries` and `keys` are the global positions of the rows and columns.
at::Tensor attention_dropout_factors(const AttentionDropout& dropout, std::int64_t heads,
                                     std::span<const PositionRange> queries, std::span<const PositionRange> keys,
                                     at::ScalarType type);

}  // namespace ringtron

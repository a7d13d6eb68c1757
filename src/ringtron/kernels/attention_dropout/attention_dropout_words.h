// Which attention probabilities are dropped, for host and device. The definition is in context_parallel/attention_dropout.h.
#pragma once

#include <cstdint>

#include "ringtron/base/random.h"

namespace ringtron {

constexpr int kKeysOfBlock = 8;  // whose random numbers are halves of one Philox block's four words

// p as a number of 65,536ths: a probability is dropped when its 16 random bits are below this. At least one in 65,536 is kept.
inline std::uint32_t dropout_threshold(double p) {
  const auto nearest = static_cast<std::uint32_t>(p * 65536.0 + 0.5);
  return nearest < 65536 ? nearest : 65535;
}

// What kept probabilities are multiplied with, so that the mean stays: 1 / (1 - p), of p as it is.
inline double dropout_keep(std::uint32_t threshold) { return 65536.0 / (65536.0 - threshold); }

RT_HOST_DEVICE inline std::uint64_t attention_dropout_stream(std::int64_t sample, std::int64_t head) {
  return (static_cast<std::uint64_t>(sample) << 20) | static_cast<std::uint64_t>(head);
}

// Bit i: key 8 * block + i is dropped for this query. Seven rounds, the least that pass every test of the paper's authors
// (base/random.h); a mask needs no more.
RT_HOST_DEVICE inline std::uint32_t dropped_keys(std::uint64_t key, std::uint64_t stream, std::uint32_t threshold, std::int64_t query,
                                                 std::int64_t block) {
  constexpr int kRounds = 7;
  const PhiloxBlock words = philox4x32<kRounds>(key, stream, (static_cast<std::uint64_t>(query) << 32) | static_cast<std::uint64_t>(block));
  const std::uint32_t limit = threshold << 16;
  std::uint32_t bits = 0;
  for (int word = 0; word < 4; ++word) {
    bits |= ((words.v[word] << 16) < limit ? 1u : 0u) << (2 * word);
    bits |= (words.v[word] < limit ? 1u : 0u) << (2 * word + 1);
  }
  return bits;
}

}  // namespace ringtron

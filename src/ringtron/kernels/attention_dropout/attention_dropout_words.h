// Which attention probabilities are dropped, for host and device. The definition is in
// context_parallel/block/attention_dropout.h.
#pragma once

#include <cstdint>

#include "ringtron/base/random.h"

namespace ringtron {

constexpr int kKeysOfBlock = 8;  // whose random numbers are 15 bits each of one Philox block's four words

// p as a number of 32,768ths: a probability is dropped when its 15 random bits are below this. At least one in 32,768
// is kept.
inline std::uint32_t dropout_threshold(double p) {
  const auto nearest = static_cast<std::uint32_t>(p * 32768.0 + 0.5);
  return nearest < 32768 ? nearest : 32767;
}

// What kept probabilities are multiplied with, so that the mean stays: 1 / (1 - p), of p as it is.
inline double dropout_keep(std::uint32_t threshold) { return 32768.0 / (32768.0 - threshold); }

RT_HOST_DEVICE inline std::uint64_t attention_dropout_stream(std::int64_t sample, std::int64_t head) {
  return (static_cast<std::uint64_t>(sample) << 20) | static_cast<std::uint64_t>(head);
}

// Which keys 8 * block + i are dropped for this query: for an even i bit 15 - i / 2, for an odd one bit 31 - i / 2.
// Seven rounds, the least that pass BigCrush (base/random.h); a mask needs no more.
RT_HOST_DEVICE inline std::uint32_t dropped_keys(std::uint64_t key, std::uint64_t stream, std::uint32_t threshold,
                                                 std::int64_t query, std::int64_t block) {
  constexpr int kRounds = 7;
  constexpr std::uint32_t kTop = 0x80008000u;  // of both halves of a word
  const PhiloxBlock words =
      philox4x32<kRounds>(key, stream, (static_cast<std::uint64_t>(query) << 32) | static_cast<std::uint64_t>(block));
  // Each half with its top bit set, less the threshold, has it still where its 15 bits are not below.
  const std::uint32_t both = threshold << 16 | threshold;
  std::uint32_t kept = 0;
  for (int word = 0; word < 4; ++word) kept |= (((words.v[word] | kTop) - both) & kTop) >> word;
  return kept ^ 0xF000F000u;
}

RT_HOST_DEVICE inline bool is_dropped(std::uint32_t keys, int i) {
  return (keys >> (15 + 16 * (i % 2) - i / 2) & 1) != 0;
}

}  // namespace ringtron

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

constexpr int kMaskRounds = 7;  // the least that pass BigCrush (base/random.h); a mask needs no more

// Which keys 8 * block + i are dropped for this query: for an even i bit 15 - i / 2, for an odd one bit 31 - i / 2.
RT_HOST_DEVICE inline std::uint32_t dropped_keys(std::uint64_t key, std::uint64_t stream, std::uint32_t threshold,
                                                 std::int64_t query, std::int64_t block) {
  constexpr std::uint32_t kTop = 0x80008000u;  // of both halves of a word
  const PhiloxBlock words = philox4x32<kMaskRounds>(
      key, stream, (static_cast<std::uint64_t>(query) << 32) | static_cast<std::uint64_t>(block));
  // Each half with its top bit set, less the threshold, has it still where its 15 bits are not below.
  const std::uint32_t both = threshold << 16 | threshold;
  std::uint32_t kept = 0;
  for (int word = 0; word < 4; ++word) kept |= (((words.v[word] | kTop) - both) & kTop) >> word;
  return kept ^ 0xF000F000u;
}

RT_HOST_DEVICE inline bool is_dropped(std::uint32_t keys, int i) {
  return (keys >> (15 + 16 * (i % 2) - i / 2) & 1) != 0;
}

// The same words in two steps, for kernels that meet a query with many blocks and a block with many queries: words of
// the query and of the block do not meet before the third round, so what comes before is done once for each.
struct alignas(8) QueryPart {
  std::uint32_t v[2];
};
struct alignas(16) BlockPart {
  std::uint32_t v[4];
};

namespace philox {
constexpr std::uint32_t kMultiplier0 = 0xD2511F53u, kMultiplier1 = 0xCD9E8D57u;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;

// x y in one instruction; of a constant above 2^31 the compiler makes two.
RT_HOST_DEVICE inline std::uint64_t product(std::uint32_t x, std::uint32_t y) {
#ifdef __CUDA_ARCH__
  std::uint64_t z;
  asm("mul.wide.u32 %0, %1, %2;" : "=l"(z) : "r"(x), "r"(y));
  return z;
#else
  return static_cast<std::uint64_t>(x) * y;
#endif
}
RT_HOST_DEVICE inline std::uint32_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
RT_HOST_DEVICE inline std::uint32_t high(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }
}  // namespace philox

RT_HOST_DEVICE inline QueryPart query_part(std::uint64_t key, std::uint64_t stream, std::int64_t query) {
  using namespace philox;
  const std::uint32_t c0 = high(product(kMultiplier1, low(stream))) ^ static_cast<std::uint32_t>(query) ^ low(key);
  const std::uint64_t second = product(kMultiplier0, c0);
  return {{high(second), low(second)}};
}

RT_HOST_DEVICE inline BlockPart block_part(std::uint64_t key, std::uint64_t stream, std::int64_t block) {
  using namespace philox;
  const std::uint64_t first = product(kMultiplier0, static_cast<std::uint32_t>(block));
  const std::uint64_t second = product(kMultiplier1, high(first) ^ high(stream) ^ high(key));
  const std::uint64_t third = product(kMultiplier0, high(second) ^ kMultiplier1 * low(stream) ^ (low(key) + kWeyl0));
  return {{low(first) ^ (high(key) + kWeyl1), low(second) ^ (low(key) + 2 * kWeyl0),
           high(third) ^ (high(key) + 2 * kWeyl1), low(third)}};
}

// philox4x32<kMaskRounds>(key, stream, query << 32 | block), of their parts.
RT_HOST_DEVICE inline PhiloxBlock words_of_parts(std::uint64_t key, const QueryPart& query, const BlockPart& block) {
  using namespace philox;
  const std::uint64_t third = product(kMultiplier1, query.v[0] ^ block.v[0]);
  PhiloxBlock x{{high(third) ^ block.v[1], low(third), query.v[1] ^ block.v[2], block.v[3]}};
  for (std::uint32_t round = 3; round < kMaskRounds; ++round) {
    const std::uint64_t p0 = product(kMultiplier0, x.v[0]), p1 = product(kMultiplier1, x.v[2]);
    x = {{high(p1) ^ x.v[1] ^ (low(key) + round * kWeyl0), low(p1), high(p0) ^ x.v[3] ^ (high(key) + round * kWeyl1),
          low(p0)}};
  }
  return x;
}

}  // namespace ringtron

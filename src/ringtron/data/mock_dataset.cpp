#include "ringtron/data/mock_dataset.h"

#include <fmt/format.h>

#include <algorithm>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/base/random.h"

namespace ringtron {

MockDataset::MockDataset(std::int64_t size, std::int64_t sequence_length, std::int64_t vocab_size, std::uint64_t seed)
    : size_(size),
      sequence_length_(sequence_length),
      vocab_size_(vocab_size),
      seed_(seed),
      block_length_(std::clamp<std::int64_t>(sequence_length / 4, 2, 64)) {
  if (vocab_size < 2) {
    throw ConfigError(
        fmt::format("--mock-data: expected a vocabulary of at least 2 ids, got {}. Raise --vocab-size", vocab_size));
  }
}

void MockDataset::read(std::int64_t sample, std::int64_t first, std::int64_t count, std::int32_t* out) const {
  RT_CHECK(sample >= 0 && sample < size_ && first >= 0 && count >= 0 && first + count <= sequence_length_ + 1,
           "tokens [{}, {}) of mock sample {} of {}", first, first + count, sample, size_);
  const std::int64_t wrap = vocab_size_ - 1;
  for (std::int64_t p = first; p < first + count;) {
    // The document that holds p ends in the stretch of p, or in the next one.
    std::int64_t block = p / block_length_;
    if (end_in(sample, block) < p) ++block;
    const std::int64_t begin = block == 0 ? 0 : end_in(sample, block - 1) + 1, end = end_in(sample, block);
    const auto words = philox4x32(seed_, static_cast<std::uint64_t>(sample), static_cast<std::uint64_t>(block));
    const std::int64_t token = words.v[0] % wrap, step = 1 + words.v[1] % 3;
    for (; p <= end && p < first + count; ++p) {
      *out++ = static_cast<std::int32_t>(p == end ? wrap : (token + (p - begin) * step) % wrap);
    }
  }
}

std::int64_t MockDataset::end_in(std::int64_t sample, std::int64_t block) const {
  const auto words = philox4x32(seed_, static_cast<std::uint64_t>(sample), static_cast<std::uint64_t>(block));
  return block * block_length_ + words.v[2] % block_length_;
}

TokenPlace MockDataset::locate(std::int64_t sample, std::int64_t position) const {
  std::int32_t token = 0;
  read(sample, position, 1, &token);
  return {"mock data", sample, position, token};
}

}  // namespace ringtron

#include "ringtron/data/mock_dataset.h"

#include <fmt/format.h>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/base/random.h"

namespace ringtron {

MockDataset::MockDataset(std::int64_t size, std::int64_t sequence_length, std::int64_t vocab_size,
                         std::uint64_t seed)
    : size_(size), sequence_length_(sequence_length), vocab_size_(vocab_size), seed_(seed) {
  if (vocab_size < 2) {
    throw ConfigError(fmt::format(
        "--mock-data: expected a vocabulary of at least 2 ids, got {}. Raise --vocab-size", vocab_size));
  }
}

void MockDataset::read(std::int64_t sample, std::int64_t first, std::int64_t count, std::int32_t* out) const {
  RT_CHECK(sample >= 0 && sample < size_ && first >= 0 && count >= 0 && first + count <= sequence_length_ + 1,
           "tokens [{}, {}) of mock sample {} of {}", first, first + count, sample, size_);
  const std::int64_t wrap = vocab_size_ - 1;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t document = (first + i) / kDocumentLength, offset = (first + i) % kDocumentLength;
    const auto words =
        philox4x32(seed_, static_cast<std::uint64_t>(sample), static_cast<std::uint64_t>(document));
    const std::int64_t begin = words.v[0] % wrap, step = 1 + words.v[1] % 3;
    out[i] = static_cast<std::int32_t>(offset + 1 == kDocumentLength ? wrap : (begin + offset * step) % wrap);
  }
}

TokenPlace MockDataset::locate(std::int64_t sample, std::int64_t position) const {
  std::int32_t token = 0;
  read(sample, position, 1, &token);
  return {"mock data", sample, position, token};
}

}  // namespace ringtron

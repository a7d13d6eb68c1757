#include "ringtron/context_parallel/attention_dropout.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

struct Row {
  std::uint64_t key, stream, threshold;
  std::int64_t query;
};

template <class T>
void fill_row(const Row& row, std::span<const PositionRange> keys, T keep, T* out) {
  for (const PositionRange& range : keys) {
    for (std::int64_t block = range.begin / 4; block * 4 < range.end; ++block) {
      const PhiloxBlock words = attention_dropout_words(row.key, row.stream, row.query, block);
      for (std::int64_t i = 0; i < 4; ++i) {
        const std::int64_t position = block * 4 + i;
        if (position >= range.begin && position < range.end) *out++ = words.v[i] < row.threshold ? T(0) : keep;
      }
    }
  }
}

std::int64_t total_length(std::span<const PositionRange> ranges) {
  std::int64_t length = 0;
  for (const PositionRange& range : ranges) length += range.length();
  return length;
}

}  // namespace

at::Tensor attention_dropout_factors(const AttentionDropout& dropout, std::int64_t heads,
                                     std::span<const PositionRange> queries, std::span<const PositionRange> keys,
                                     at::ScalarType type) {
  RT_CHECK(dropout.p >= 0.0 && dropout.p < 1.0, "attention dropout {} is not in [0, 1)", dropout.p);
  RT_CHECK_LE(dropout.head_offset + heads, 1 << 20, "query heads with attention dropout");
  std::vector<std::int64_t> query_positions;
  for (const PositionRange& range : queries) {
    for (std::int64_t q = range.begin; q < range.end; ++q) query_positions.push_back(q);
  }
  const std::int64_t batch = static_cast<std::int64_t>(dropout.sample_numbers.size());
  const std::int64_t rows = static_cast<std::int64_t>(query_positions.size()), columns = total_length(keys);
  at::Tensor factors = at::empty({batch, heads, rows, columns}, at::TensorOptions(type));
  const std::uint64_t threshold = dropout_threshold(dropout.p);
  AT_DISPATCH_FLOATING_TYPES(type, "attention_dropout_factors", [&] {
    scalar_t* out = factors.mutable_data_ptr<scalar_t>();
    const scalar_t keep = static_cast<scalar_t>(1.0 / (1.0 - dropout.p));
    at::parallel_for(0, batch * heads * rows, 64, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t sample = dropout.sample_numbers[i / (heads * rows)];
        const std::int64_t head = dropout.head_offset + i / rows % heads;
        const Row row{dropout.key, attention_dropout_stream(sample, head), threshold, query_positions[i % rows]};
        fill_row(row, keys, keep, out + i * columns);
      }
    });
  });
  return factors;
}

}  // namespace ringtron

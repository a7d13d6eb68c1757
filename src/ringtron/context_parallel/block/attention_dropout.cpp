#include "ringtron/context_parallel/block/attention_dropout.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>

#include "ringtron/base/check.h"
#include "ringtron/kernels/attention_dropout/attention_dropout_params.h"
#include "ringtron/kernels/attention_dropout/attention_dropout_words.h"
#include "ringtron/kernels/device/current_stream.h"

namespace ringtron {
namespace {

// What fits into the counter of the header's first comment.
constexpr std::int64_t kSampleLimit = std::int64_t{1} << 44;
constexpr std::int64_t kHeadLimit = std::int64_t{1} << 20;
constexpr std::int64_t kQueryLimit = std::int64_t{1} << 32;

struct Row {
  std::uint64_t key, stream;
  std::uint32_t threshold;
  std::int64_t query;
};

template <class T>
void fill_row(const Row& row, std::span<const PositionRange> keys, T keep, T* out) {
  for (const PositionRange& range : keys) {
    for (std::int64_t block = range.begin / kKeysOfBlock; block * kKeysOfBlock < range.end; ++block) {
      const std::uint32_t dropped = dropped_keys(row.key, row.stream, row.threshold, row.query, block);
      for (int i = 0; i < kKeysOfBlock; ++i) {
        const std::int64_t position = block * kKeysOfBlock + i;
        if (position >= range.begin && position < range.end) *out++ = is_dropped(dropped, i) ? T(0) : keep;
      }
    }
  }
}

void fill_cpu(const AttentionDropout& dropout, std::span<const PositionRange> queries,
              std::span<const PositionRange> keys, at::Tensor& factors) {
  const std::vector<std::int64_t> query_positions = positions_in(queries);
  const std::int64_t heads = factors.size(1), rows = factors.size(2), columns = factors.size(3);
  const std::uint32_t threshold = dropout_threshold(dropout.p);
  AT_DISPATCH_FLOATING_TYPES(factors.scalar_type(), "attention_dropout_factors", [&] {
    scalar_t* out = factors.mutable_data_ptr<scalar_t>();
    const scalar_t keep = static_cast<scalar_t>(dropout_keep(threshold));
    at::parallel_for(0, factors.size(0) * heads * rows, 64, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t sample = dropout.sample_numbers[i / (heads * rows)];
        const std::int64_t head = dropout.head_offset + i / rows % heads;
        const Row row{dropout.key, attention_dropout_stream(sample, head), threshold, query_positions[i % rows]};
        fill_row(row, keys, keep, out + i * columns);
      }
    });
  });
}

at::Tensor positions_on(at::Device device, std::span<const PositionRange> ranges) {
  const at::TensorOptions integers = at::TensorOptions(device).dtype(at::kLong);
  std::vector<at::Tensor> parts{at::empty({0}, integers)};
  for (const PositionRange& range : ranges) parts.push_back(at::arange(range.begin, range.end, integers));
  return at::cat(parts);
}

// A copy from the host would wait for all that the device was given. A launch for each: a micro-batch has few samples.
at::Tensor numbers_on(at::Device device, const std::vector<std::int64_t>& numbers) {
  at::Tensor result =
      at::empty({static_cast<std::int64_t>(numbers.size())}, at::TensorOptions(device).dtype(at::kLong));
  for (std::size_t i = 0; i < numbers.size(); ++i) result.narrow(0, static_cast<std::int64_t>(i), 1).fill_(numbers[i]);
  return result;
}

// Whether each eight rows from a multiple of eight on have the positions of one random block.
bool in_blocks(std::span<const PositionRange> ranges) {
  std::int64_t row = 0;
  for (const PositionRange& range : ranges) {
    if (range.empty()) continue;
    if (row % kKeysOfBlock != 0 || range.begin % kKeysOfBlock != 0) return false;
    row += range.length();
  }
  return true;
}

void fill_cuda(const AttentionDropout& dropout, std::span<const PositionRange> queries,
               std::span<const PositionRange> keys, at::Tensor& factors) {
  const c10::DeviceGuard guard(factors.device());
  const FusedDropout here = fused_dropout(dropout, factors.size(1), queries, keys, factors.device());
  AttentionDropoutParams params{};
  params.factors = factors.mutable_data_ptr();
  params.samples = here.samples.const_data_ptr<std::int64_t>();
  params.queries = here.queries.const_data_ptr<std::int64_t>();
  params.keys = here.keys.const_data_ptr<std::int64_t>();
  params.batch = factors.size(0);
  params.heads = factors.size(1);
  params.rows = factors.size(2);
  params.columns = factors.size(3);
  params.head_offset = dropout.head_offset;
  params.key = dropout.key;
  params.threshold = dropout_threshold(dropout.p);
  params.keep = dropout_keep(params.threshold);
  attention_dropout_cuda(params, factors.scalar_type() == at::kDouble, current_cuda_stream());
}

void check_limits(const AttentionDropout& dropout, std::int64_t heads, std::span<const PositionRange> queries) {
  RT_CHECK(dropout.p >= 0.0 && dropout.p < 1.0, "attention dropout {} is not in [0, 1)", dropout.p);
  RT_CHECK_LE(dropout.head_offset + heads, kHeadLimit, "query heads with attention dropout");
  for (const std::int64_t sample : dropout.sample_numbers) {
    RT_CHECK(sample >= 0 && sample < kSampleLimit, "sample number {} is not in [0, 2^44)", sample);
  }
  for (const PositionRange& range : queries) {
    RT_CHECK_LE(range.end, kQueryLimit, "query positions with attention dropout");
  }
}

}  // namespace

FusedDropout fused_dropout(const AttentionDropout& dropout, std::int64_t heads, std::span<const PositionRange> queries,
                           std::span<const PositionRange> keys, at::Device device) {
  check_limits(dropout, heads, queries);
  return {dropout.p,
          dropout.key,
          numbers_on(device, dropout.sample_numbers),
          dropout.head_offset,
          positions_on(device, queries),
          positions_on(device, keys),
          in_blocks(keys)};
}

at::Tensor attention_dropout_factors(const AttentionDropout& dropout, std::int64_t heads,
                                     std::span<const PositionRange> queries, std::span<const PositionRange> keys,
                                     const at::TensorOptions& like) {
  check_limits(dropout, heads, queries);
  const std::int64_t batch = static_cast<std::int64_t>(dropout.sample_numbers.size());
  at::Tensor factors = at::empty({batch, heads, total_length(queries), total_length(keys)}, like);
  const at::ScalarType type = factors.scalar_type();
  RT_CHECK(type == at::kFloat || type == at::kDouble, "attention dropout: expected fp32 or fp64, got {}",
           c10::toString(type));
  if (factors.is_cuda()) {
    fill_cuda(dropout, queries, keys, factors);
    return factors;
  }
  RT_CHECK(factors.is_cpu(), "attention dropout: no kernel for this device in this build");
  fill_cpu(dropout, queries, keys, factors);
  return factors;
}

}  // namespace ringtron

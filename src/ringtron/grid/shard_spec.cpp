#include "ringtron/grid/shard_spec.h"

#include <fmt/ranges.h>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"

namespace ringtron {
namespace {

std::int64_t product(const std::vector<std::int64_t>& shape, std::size_t begin, std::size_t end) {
  std::int64_t count = 1;
  for (std::size_t i = begin; i < end; ++i) count *= shape[i];
  return count;
}

std::vector<std::int64_t> parts_of(const ShardSpec& spec) {
  if (!spec.parts.empty()) return spec.parts;
  return {spec.global_shape[static_cast<std::size_t>(spec.dim)]};
}

void check_spec(const ShardSpec& spec, int tp_size) {
  RT_CHECK_GE(tp_size, 1, "tensor parallel size");
  for (const std::int64_t size : spec.global_shape) RT_CHECK_GE(size, 0, "a dim of a sharded tensor");
  if (!spec.sharded()) {
    RT_CHECK(spec.parts.empty(), "a tensor that is not sharded has no parts, got {}", spec.parts);
    return;
  }
  RT_CHECK_LT(static_cast<std::size_t>(spec.dim), spec.global_shape.size(), "the sharded dim");
  std::int64_t whole = 0;
  for (const std::int64_t part : parts_of(spec)) {
    RT_CHECK_GE(part, 0, "a part of the sharded dim");
    if (part % tp_size != 0) {
      throw ConfigError(
          fmt::format("a tensor of shape {} is divided along dim {} in parts of {}: expected multiples of the tensor "
                      "parallel size {}; change that size or the model's",
                      spec.global_shape, spec.dim, parts_of(spec), tp_size));
    }
    whole += part;
  }
  RT_CHECK_EQ(whole, spec.global_shape[static_cast<std::size_t>(spec.dim)], "sum of the parts");
}

void check_rank(int tp_rank, int tp_size) {
  RT_CHECK(tp_rank >= 0 && tp_rank < tp_size, "expected a tensor rank from 0 to {}, got {}", tp_size - 1, tp_rank);
}

// Elements in one step along the divided dim.
std::int64_t inner_size(const ShardSpec& spec) {
  const std::size_t dim = spec.sharded() ? static_cast<std::size_t>(spec.dim) : 0;
  return spec.global_shape.empty() ? 1 : product(spec.global_shape, dim + 1, spec.global_shape.size());
}

}  // namespace

std::vector<std::int64_t> ShardSpec::local_shape(int tp_size) const {
  check_spec(*this, tp_size);
  std::vector<std::int64_t> shape = global_shape;
  if (sharded()) shape[static_cast<std::size_t>(dim)] /= tp_size;
  return shape;
}

std::vector<ShardSlice> ShardSpec::slices(int tp_rank, int tp_size) const {
  check_spec(*this, tp_size);
  check_rank(tp_rank, tp_size);
  if (!sharded()) return {{.length = global_shape.empty() ? 1 : global_shape[0]}};
  std::vector<ShardSlice> result;
  std::int64_t part_begin = 0;
  std::int64_t local_offset = 0;
  for (const std::int64_t part : parts_of(*this)) {
    const std::int64_t length = part / tp_size;
    result.push_back({.global_offset = part_begin + tp_rank * length, .local_offset = local_offset, .length = length});
    part_begin += part;
    local_offset += length;
  }
  return result;
}

std::vector<ShardSlice> ShardSpec::element_runs(int tp_rank, int tp_size) const {
  const std::vector<ShardSlice> along_dim = slices(tp_rank, tp_size);
  const std::int64_t outer = sharded() ? product(global_shape, 0, static_cast<std::size_t>(dim)) : 1;
  const std::int64_t inner = inner_size(*this);
  const std::int64_t global_row = sharded() ? global_shape[static_cast<std::size_t>(dim)] * inner : 0;
  const std::int64_t local_row = global_row / tp_size;
  std::vector<ShardSlice> runs;
  for (std::int64_t row = 0; row < outer; ++row) {
    for (const ShardSlice& slice : along_dim) {
      const ShardSlice run = {.global_offset = row * global_row + slice.global_offset * inner,
                              .local_offset = row * local_row + slice.local_offset * inner,
                              .length = slice.length * inner};
      if (run.length == 0) continue;
      if (!runs.empty() && runs.back().global_offset + runs.back().length == run.global_offset) {
        runs.back().length += run.length;
      } else {
        runs.push_back(run);
      }
    }
  }
  return runs;
}

std::int64_t ShardSpec::global_element(std::int64_t local_index, int tp_rank, int tp_size) const {
  if (!sharded()) return local_index;
  const std::vector<ShardSlice> along_dim = slices(tp_rank, tp_size);
  const std::int64_t inner = inner_size(*this);
  const std::int64_t global_dim = global_shape[static_cast<std::size_t>(dim)];
  const std::int64_t local_dim = global_dim / tp_size;
  const std::int64_t at = local_index / inner % local_dim;
  const std::int64_t outer = local_index / inner / local_dim;
  for (const ShardSlice& slice : along_dim) {
    if (at >= slice.local_offset + slice.length) continue;
    const std::int64_t global_at = slice.global_offset + at - slice.local_offset;
    return (outer * global_dim + global_at) * inner + local_index % inner;
  }
  RT_CHECK(false, "local element {} lies in no slice of shape {}", local_index, global_shape);
  return -1;
}

}  // namespace ringtron

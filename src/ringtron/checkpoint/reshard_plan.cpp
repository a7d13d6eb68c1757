// A tensor seen from its two cut dims (a of the piece, b of the wanted slab) has five sizes: [outer, A,
// middle, B, inner]. Only A and B are ever cut, so `outer` is one loop, the part of A with `middle` a second,
// and the part of B with `inner` a run. Where the two dims are the same, there is no B: A with `inner` is the
// run and `outer` the only loop.
#include "ringtron/checkpoint/reshard_plan.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t size() const { return end - begin; }
};

Range range_of(const Slab& slab) { return {slab.offset, slab.offset + slab.length}; }

// Which rows of dim `dim` the slab holds.
Range held(const Shape& shape, const Slab& slab, int dim) {
  return slab.dim == dim ? range_of(slab) : Range{0, rows_along(shape, dim)};
}

Range intersect(Range a, Range b) { return {std::max(a.begin, b.begin), std::min(a.end, b.end)}; }

std::int64_t product(const Shape& shape, std::size_t from, std::size_t to) {
  std::int64_t result = 1;
  for (std::size_t i = from; i < std::min(to, shape.size()); ++i) result *= shape[i];
  return result;
}

StridedCopy copy_along_one_dim(const Shape& shape, const Slab& piece, const Slab& wanted, Range common) {
  const auto dim = static_cast<std::size_t>(wanted.dim);
  const std::int64_t inner = product(shape, dim + 1, shape.size());
  StridedCopy copy;
  copy.count = {product(shape, 0, dim), 1};
  copy.source_stride = {piece.length * inner, 0};
  copy.target_stride = {wanted.length * inner, 0};
  copy.source_begin = (common.begin - piece.offset) * inner;
  copy.target_begin = (common.begin - wanted.offset) * inner;
  copy.run = common.size() * inner;
  return copy;
}

// Piece and wanted slab are cut along different dims: `first` < `second`.
StridedCopy copy_across_dims(const Shape& shape, const Slab& piece, const Slab& wanted) {
  const int first = std::min(piece.dim, wanted.dim), second = std::max(piece.dim, wanted.dim);
  const std::int64_t inner = product(shape, static_cast<std::size_t>(second) + 1, shape.size());
  const std::int64_t middle = product(shape, static_cast<std::size_t>(first) + 1, static_cast<std::size_t>(second));
  const Range source_a = held(shape, piece, first), source_b = held(shape, piece, second);
  const Range target_a = held(shape, wanted, first), target_b = held(shape, wanted, second);
  const Range a = intersect(source_a, target_a), b = intersect(source_b, target_b);
  const std::int64_t source_row = source_b.size() * inner, target_row = target_b.size() * inner;
  StridedCopy copy;
  // The rows of A with their middles follow each other evenly, so both are one loop.
  copy.count = {product(shape, 0, static_cast<std::size_t>(first)), a.size() * middle};
  copy.source_stride = {source_a.size() * middle * source_row, source_row};
  copy.target_stride = {target_a.size() * middle * target_row, target_row};
  copy.source_begin = (a.begin - source_a.begin) * middle * source_row + (b.begin - source_b.begin) * inner;
  copy.target_begin = (a.begin - target_a.begin) * middle * target_row + (b.begin - target_b.begin) * inner;
  copy.run = b.size() * inner;
  return copy;
}

// One behind the last element that the loops reach.
std::int64_t last_of(const StridedCopy& copy, std::int64_t begin, const std::array<std::int64_t, 2>& stride) {
  return begin + (copy.count[0] - 1) * stride[0] + (copy.count[1] - 1) * stride[1] + copy.run;
}

std::int64_t last_read(const StridedCopy& copy) { return last_of(copy, copy.source_begin, copy.source_stride); }

}  // namespace

bool may_read(const StridedCopy& copy, const SlabRange& held) {
  return copy.source_begin < held.end && held.begin < last_read(copy);
}

std::vector<StridedCopy> plan_reshard(const Shape& global_shape, std::span<const Slab> pieces, const Slab& wanted) {
  RT_CHECK(!slab_problem(global_shape, wanted), "wanted slab {} of shape {}", to_string(wanted),
           to_string(global_shape));
  std::vector<StridedCopy> plan;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const Slab& piece = pieces[i];
    RT_CHECK(!slab_problem(global_shape, piece), "piece {} of shape {}", to_string(piece), to_string(global_shape));
    const Range common =
        piece.dim == wanted.dim ? intersect(range_of(piece), range_of(wanted)) : Range{0, piece.length};
    if (common.size() <= 0 || wanted.length == 0) continue;
    StridedCopy copy = piece.dim == wanted.dim ? copy_along_one_dim(global_shape, piece, wanted, common)
                                               : copy_across_dims(global_shape, piece, wanted);
    copy.piece = i;
    if (copy.run > 0 && copy.count[0] > 0 && copy.count[1] > 0) plan.push_back(copy);
  }
  return plan;
}

void run_copy(const StridedCopy& copy, std::size_t element_size, std::span<const std::byte> source,
              std::span<std::byte> target, const std::optional<SlabRange>& held) {
  const auto bytes = [&](std::int64_t elements) { return static_cast<std::size_t>(elements) * element_size; };
  const SlabRange all = held.value_or(SlabRange{0, last_read(copy)});
  RT_CHECK_LE(bytes(all.size()), source.size(), "bytes read from a piece");
  RT_CHECK_LE(bytes(last_of(copy, copy.target_begin, copy.target_stride)), target.size(), "bytes written to a slab");
  for (std::int64_t i = 0; i < copy.count[0]; ++i) {
    for (std::int64_t j = 0; j < copy.count[1]; ++j) {
      const std::int64_t from = copy.source_begin + i * copy.source_stride[0] + j * copy.source_stride[1];
      const std::int64_t to = copy.target_begin + i * copy.target_stride[0] + j * copy.target_stride[1];
      const std::int64_t begin = std::max(from, all.begin), end = std::min(from + copy.run, all.end);
      if (begin >= end) continue;
      std::memcpy(target.data() + bytes(to + begin - from), source.data() + bytes(begin - all.begin),
                  bytes(end - begin));
    }
  }
}

}  // namespace ringtron

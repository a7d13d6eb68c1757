#include "ringtron/checkpoint/tensor_slice.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ringtron/base/check.h"

namespace ringtron {

Slab whole_slab(const Shape& global_shape) { return {0, 0, rows_along(global_shape, 0)}; }

std::int64_t rows_along(const Shape& global_shape, int dim) {
  return global_shape.empty() ? 1 : global_shape.at(static_cast<std::size_t>(dim));
}

Shape slab_shape(const Shape& global_shape, const Slab& slab) {
  Shape shape = global_shape;
  if (!shape.empty()) shape.at(static_cast<std::size_t>(slab.dim)) = slab.length;
  return shape;
}

std::optional<std::int64_t> element_count(const Shape& shape) {
  std::int64_t count = 1;
  bool empty = false;
  for (const std::int64_t size : shape) {
    if (size < 0) return std::nullopt;
    if (size == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(count, size, &count)) {
      return std::nullopt;
    }
  }
  return empty ? 0 : count;
}

std::int64_t slab_elements(const Shape& global_shape, const Slab& slab) {
  const auto count = element_count(slab_shape(global_shape, slab));
  RT_CHECK(count.has_value(), "shape {} has no element count", to_string(global_shape));
  return *count;
}

std::optional<std::string> slab_problem(const Shape& global_shape, const Slab& slab) {
  if (!element_count(global_shape)) return fmt::format("shape {} is not possible", to_string(global_shape));
  const int dims = global_shape.empty() ? 1 : static_cast<int>(global_shape.size());
  if (slab.dim < 0 || slab.dim >= dims) {
    return fmt::format("dim {} does not exist in shape {}", slab.dim, to_string(global_shape));
  }
  const std::int64_t rows = rows_along(global_shape, slab.dim);
  if (slab.offset < 0 || slab.length < 0 || slab.offset > rows || slab.length > rows - slab.offset) {
    return fmt::format("{} reach outside shape {}", to_string(slab), to_string(global_shape));
  }
  if (global_shape.empty() && slab.length != 1) return std::string("a scalar can only be saved whole");
  return std::nullopt;
}

std::optional<std::string> range_problem(const Shape& global_shape, const Slab& slab, const SlabRange& range) {
  const std::int64_t elements = slab_elements(global_shape, slab);
  if (range.begin >= 0 && range.begin < range.end && range.end <= elements) return std::nullopt;
  return fmt::format("elements {} to {} of {} are not a range of its {}", range.begin, range.end, to_string(slab),
                     elements);
}

Shape stored_shape(const Shape& global_shape, const Slab& slab, const std::optional<SlabRange>& range) {
  return range ? Shape{range->size()} : slab_shape(global_shape, slab);
}

std::string stored_name(const std::string& name, const Slab& slab, const std::optional<SlabRange>& range) {
  const std::string rows = fmt::format("{}#dim{}[{}:{}]", name, slab.dim, slab.offset, slab.offset + slab.length);
  return range ? fmt::format("{}#[{}:{}]", rows, range->begin, range->end) : rows;
}

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

std::string to_string(const Slab& slab) { return fmt::format("dim {} rows {}+{}", slab.dim, slab.offset, slab.length); }

}  // namespace ringtron

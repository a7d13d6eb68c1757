// A part of a logical tensor: what a rank hands over to be saved.
//
// A logical tensor is the tensor as one process would hold it. A slice is a slab of it: all of every
// dimension except `dim`, of which it is [offset, offset + length). A replicated tensor is one slab that is
// the whole. A rank's gated fc1 weight is two slabs (its gate rows, its up rows), because in the logical
// tensor all gate rows come before all up rows. Of a slab several ranks may have a range of elements each, which begins
// and ends anywhere in a row: with a distributed optimizer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ringtron/checkpoint/dtype.h"

namespace ringtron {

using Shape = std::vector<std::int64_t>;

struct Slab {
  int dim = 0;
  std::int64_t offset = 0;  // along `dim`, in rows of the logical tensor
  std::int64_t length = 0;
  bool operator==(const Slab&) const = default;
};

// Elements [begin, end) of a slab, in the row-major order of the slab by itself.
struct SlabRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t size() const { return end - begin; }
  bool operator==(const SlabRange&) const = default;
};

struct TensorSlice {
  std::string name;  // e.g. "model.decoder.layers.3.mlp.linear_fc1.weight"
  DType dtype = DType::f32;
  Shape global_shape;
  Slab slab;
  std::span<const std::byte> bytes;     // row-major; borrowed until write_shard returns
  std::optional<SlabRange> range = {};  // of the slab; absent: all of it
};

// A whole tensor that is made while it is written.
struct StreamedTensor {
  using Sink = std::function<void(std::span<const std::byte>)>;

  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  // Hands all bytes to `sink`, row-major, in as many pieces as it likes.
  std::function<void(const Sink& sink)> produce;
};

// The slab that is the whole tensor. A scalar (no dimensions) counts as one row.
Slab whole_slab(const Shape& global_shape);

// Rows of the tensor along `dim`: global_shape[dim], or 1 for a scalar.
std::int64_t rows_along(const Shape& global_shape, int dim);

// The shape that the slab has by itself.
Shape slab_shape(const Shape& global_shape, const Slab& slab);

// Elements of a shape; nothing if a size is negative or the product does not fit into 63 bits.
std::optional<std::int64_t> element_count(const Shape& shape);

// Elements of the slab. Requires a slab that is inside the tensor.
std::int64_t slab_elements(const Shape& global_shape, const Slab& slab);

// What is wrong with the slab of such a tensor, or nothing.
std::optional<std::string> slab_problem(const Shape& global_shape, const Slab& slab);

// What is wrong with the range of such a slab, or nothing. Requires a slab that is inside the tensor.
std::optional<std::string> range_problem(const Shape& global_shape, const Slab& slab, const SlabRange& range);

// The shape under which it is stored: that of the slab, or of a range its elements in one dim.
Shape stored_shape(const Shape& global_shape, const Slab& slab, const std::optional<SlabRange>& range);

// What it is called in a shard: "NAME#dim0[4:12]", of a range of that "NAME#dim0[4:12]#[100:180]".
std::string stored_name(const std::string& name, const Slab& slab, const std::optional<SlabRange>& range);

std::string to_string(const Shape& shape);  // "[4, 16]"
std::string to_string(const Slab& slab);    // "dim 0 rows 4+8": 8 rows from row 4

}  // namespace ringtron

// Which bytes to copy from stored pieces to get a wanted slab, for any two ways of cutting the same tensor.
//
// Integers only. Loading a TP=4 checkpoint at TP=2 is: for each tensor, plan_reshard() and then run_copy() on
// each step.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ringtron/checkpoint/tensor_slice.h"

namespace ringtron {

// Two nested loops over runs of elements that lie together on both sides. All numbers count elements.
struct StridedCopy {
  std::size_t piece = 0;  // index into plan_reshard's `pieces`
  std::int64_t source_begin = 0;
  std::int64_t target_begin = 0;
  std::array<std::int64_t, 2> count = {1, 1};  // outer loop, inner loop
  std::array<std::int64_t, 2> source_stride = {0, 0};
  std::array<std::int64_t, 2> target_stride = {0, 0};
  std::int64_t run = 0;
};

// The copies that fill `wanted` from the pieces that touch it, in the order of the pieces; pieces that do not
// touch it have none. If the pieces cover the tensor exactly once, so do the copies the wanted slab. Requires
// slabs inside the tensor (slab_problem); any mixture of dims is fine.
std::vector<StridedCopy> plan_reshard(const Shape& global_shape, std::span<const Slab> pieces, const Slab& wanted);

// Runs one copy. `source` is the piece, `target` the wanted slab, both whole, elements of `element_size`
// bytes. With `held`, `source` has these elements of the piece alone, and what lies outside them is left out.
void run_copy(const StridedCopy& copy, std::size_t element_size, std::span<const std::byte> source,
              std::span<std::byte> target, const std::optional<SlabRange>& held = {});

// Whether the copy may read any of these elements of its piece; false: it does not.
bool may_read(const StridedCopy& copy, const SlabRange& held);

}  // namespace ringtron

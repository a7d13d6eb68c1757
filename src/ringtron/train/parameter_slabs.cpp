#include "ringtron/train/parameter_slabs.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "ringtron/base/check.h"

namespace ringtron {

std::vector<LocalSlab> slabs_of(const Parameter& parameter, const Job& job) {
  std::vector<LocalSlab> out;
  const int dim = std::max(parameter.shard.dim, 0);
  for (const ShardSlice& s : parameter.shard.slices(job.parallel().tp_rank(), job.parallel().tp_size())) {
    std::int64_t length = s.length;
    if (parameter.real_rows >= 0) length = std::clamp<std::int64_t>(parameter.real_rows - s.global_offset, 0, length);
    if (length == 0) continue;
    // Neighbours on both sides are one: a gated fc1 of one process is whole.
    if (!out.empty() && out.back().slab.offset + out.back().slab.length == s.global_offset &&
        out.back().local_offset + out.back().slab.length == s.local_offset) {
      out.back().slab.length += length;
      continue;
    }
    out.push_back({{dim, s.global_offset, length}, s.local_offset});
  }
  return out;
}

void require_whole(const OptimizerState& state) {
  RT_CHECK(state.is_whole(), "optimizer state of {}: expected all of its {} elements, got {} to {}",
           state.parameter->name, state.parameter->value.numel(), state.elements.begin, state.elements.end);
}

Shape logical_shape(const Parameter& parameter) {
  Shape shape = parameter.shard.global_shape;
  if (parameter.real_rows >= 0) shape[0] = parameter.real_rows;
  return shape;
}

std::span<std::byte> bytes_of(const at::Tensor& contiguous_cpu) {
  return {static_cast<std::byte*>(contiguous_cpu.data_ptr()), static_cast<std::size_t>(contiguous_cpu.nbytes())};
}

}  // namespace ringtron

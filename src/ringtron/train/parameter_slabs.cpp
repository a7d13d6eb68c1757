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

std::vector<OwnedSlab> owned_slabs(const OptimizerState& state, const Job& job) {
  const at::Tensor& value = state.parameter->value;
  std::vector<OwnedSlab> out;
  for (const LocalSlab& local : slabs_of(*state.parameter, job)) {
    const std::int64_t rows = value.dim() == 0 ? 1 : value.size(local.slab.dim);
    std::int64_t before = 1;  // the product of the dims before the slab's
    for (int dim = 0; dim < local.slab.dim; ++dim) before *= value.size(dim);
    RT_CHECK(before == 1 || local.slab.length == rows,
             "rows {}+{} of dim {} of {}: not all on this rank, or not along dim 0", local.local_offset,
             local.slab.length, local.slab.dim, state.parameter->name);
    const std::int64_t row = rows == 0 ? 0 : value.numel() / rows;
    const std::int64_t first = local.local_offset * row, count = local.slab.length * row;
    const SlabRange range{std::max<std::int64_t>(state.elements.begin - first, 0),
                          std::min(state.elements.end - first, count)};
    if (range.size() <= 0 && count > 0) continue;
    out.push_back({local.slab, range, first + range.begin - state.elements.begin, range.size() == count});
  }
  return out;
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

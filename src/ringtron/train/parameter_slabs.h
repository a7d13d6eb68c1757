// Where the part of a parameter that lies on this rank stands in the tensor that a checkpoint holds.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ringtron/checkpoint/tensor_slice.h"
#include "ringtron/optim/optimizer.h"
#include "ringtron/parameter/parameter.h"
#include "ringtron/train/job.h"

namespace ringtron {

// One slab of a parameter-shaped tensor: where it lies in the logical tensor and in this rank's tensor.
struct LocalSlab {
  Slab slab;
  std::int64_t local_offset = 0;  // rows, along the slab's dim
};

// This rank's slabs, without padding rows of the vocabulary; those that meet in both tensors are one.
std::vector<LocalSlab> slabs_of(const Parameter& parameter, const Job& job);

// Optimizer state is saved and loaded as slabs of whole parameters. InternalError for a state of a part of one: here is
// the place to make slices of its range (docs/decisions/2026-11-flat-optimizer-state.md).
void require_whole(const OptimizerState& state);

// The shape of the whole tensor, without padding rows.
Shape logical_shape(const Parameter& parameter);

// The memory of a contiguous tensor on the CPU.
std::span<std::byte> bytes_of(const at::Tensor& contiguous_cpu);

}  // namespace ringtron

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

// What of a slab lies in elements [begin, end) of this rank's tensor.
struct OwnedSlab {
  Slab slab;
  SlabRange range;                // of the slab's elements: not empty
  std::int64_t state_offset = 0;  // of its first element, in a tensor that holds the owned elements alone
  bool is_whole = false;          // the range is all of the slab
};

// The slabs of slabs_of() that the state of a parameter has a part of (OptimizerState::elements). InternalError for a
// slab whose elements do not follow each other in this rank's tensor.
std::vector<OwnedSlab> owned_slabs(const OptimizerState& state, const Job& job);

// The shape of the whole tensor, without padding rows.
Shape logical_shape(const Parameter& parameter);

// The memory of a contiguous tensor on the CPU.
std::span<std::byte> bytes_of(const at::Tensor& contiguous_cpu);

}  // namespace ringtron

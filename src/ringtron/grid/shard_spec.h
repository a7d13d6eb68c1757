// How one logical tensor is divided over the tensor axis of the grid.
//
// The logical tensor is what one process would hold. Along `dim` it consists of `parts`, and each part is cut
// into equal pieces, one for each tensor rank; a rank's local tensor is its pieces one after the other. A
// gated fc1, which is all gate rows and then all up rows, has parts {ffn, ffn}; a plain linear layer has one
// part.
//
// Integers only: layers describe their parameters with it, initialisation and checkpoints read it.
#pragma once

#include <cstdint>
#include <vector>

namespace ringtron {

// `length` indices along the divided dim: [global_offset, +length) of the logical tensor is [local_offset,
// +length) of the local one.
struct ShardSlice {
  std::int64_t global_offset = 0;
  std::int64_t local_offset = 0;
  std::int64_t length = 0;
  bool operator==(const ShardSlice&) const = default;
};

struct ShardSpec {
  std::vector<std::int64_t> global_shape = {};
  int dim = -1;                          // the divided dim; -1: every tensor rank holds the whole tensor
  std::vector<std::int64_t> parts = {};  // lengths along `dim`; empty means one part, the whole dim

  bool operator==(const ShardSpec&) const = default;
  bool sharded() const { return dim >= 0; }

  // All functions: InternalError if the spec contradicts itself or `tp_rank` is out of range, ConfigError if
  // a part is not a multiple of `tp_size`.
  std::vector<std::int64_t> local_shape(int tp_size) const;

  // The slices of one tensor rank along `dim`, one for each part, ascending in both offsets. Along dim 0 and
  // of the whole length if the tensor is not sharded; a scalar gives one slice of length 1.
  std::vector<ShardSlice> slices(int tp_rank, int tp_size) const;

  // The same in elements of the row-major tensors: runs that are contiguous in both, ascending in
  // local_offset, which together cover the local tensor. Neighbouring runs are merged.
  std::vector<ShardSlice> element_runs(int tp_rank, int tp_size) const;

  // Row-major index in the logical tensor of the local tensor's element `local_index`.
  std::int64_t global_element(std::int64_t local_index, int tp_rank, int tp_size) const;
};

}  // namespace ringtron

// A small training state, cut as a tensor-parallel run cuts it: what the checkpoint tests save and load.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "ringtron/checkpoint/checkpoint_reader.h"
#include "ringtron/checkpoint/checkpoint_writer.h"
#include "ringtron/checkpoint/tensor_slice.h"

namespace ringtron::testing {

enum class Cut { replicated, column, row, gated };  // gated: two column slabs, gate rows and up rows

struct ToyTensor {
  std::string name;
  DType dtype;
  Shape shape;
  Cut cut;
  std::vector<std::byte> bytes;  // the whole logical tensor
};

// Weights and optimizer state of a gated layer, an empty tensor and a scalar; the bytes are random in `seed`.
std::vector<ToyTensor> toy_state(std::uint64_t seed);

// The slabs of a tensor that rank `rank` of `tp` holds.
std::vector<Slab> slabs_of(const ToyTensor& tensor, int rank, int tp);

// The bytes of a slab, element by element: the slow truth that reshard_plan is compared with.
std::vector<std::byte> slab_bytes(const ToyTensor& tensor, const Slab& slab);

// Saves the state as `tp` ranks would; rank 0 alone writes replicated tensors. With several `owners` each slab is cut
// into ranges of elements, wherever it comes, and each of them writes one into a shard of its own: as a distributed
// optimizer does. `beside`: each shard is written on a thread of its own, all at once.
enum class Beside { no, threads };
void save_state(FileSystem& files, const std::filesystem::path& save_folder, std::int64_t iteration,
                const std::vector<ToyTensor>& state, int tp, int owners = 1, Beside beside = Beside::no);

// Whether rank `rank` of `tp` reads exactly its slabs of `state`. Throws what the reader throws.
bool loads_equal(CheckpointReader& reader, const std::vector<ToyTensor>& state, int rank, int tp);

}  // namespace ringtron::testing

// Counts what attention and Mamba layers really did, so that it can be compared with what they had to do.
//
// A layer that silently attends to its own rows only is fast, and wrong: its bytes and its attended cells are too
// few. Counted are the bytes given to the communicator and the cells of the mask in each call of a kernel, taken
// from the tensors' own sizes; expected are the plan's bytes and the mask's cells, which no kernel has touched.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ringtron {

struct ExchangeCounts {
  std::int64_t bytes = 0;  // sent by this rank, forward and backward
  // (query, key) pairs attended to by this rank, times its heads, forward and backward each; none of a Mamba layer
  std::int64_t cells = 0;
  ExchangeCounts& operator+=(const ExchangeCounts& other) {
    bytes += other.bytes;
    cells += other.cells;
    return *this;
  }
  bool operator==(const ExchangeCounts&) const = default;
};

struct LayerProof {
  ExchangeCounts done;
  // bytes: of this rank. cells: of all ranks of the context-parallel group together, so add `done.cells` up over it.
  ExchangeCounts expected;
};

class ExchangeProof {
 public:
  void reset() { layers_.clear(); }
  LayerProof& layer(int number) { return layers_[number]; }
  const std::map<int, LayerProof>& layers() const { return layers_; }

  // [layers x 4]: number, bytes done - expected (this rank), cells done (this rank), cells expected (the group). What
  // ranks add up or compare.
  std::vector<std::int64_t> table() const;

 private:
  std::map<int, LayerProof> layers_;
};

// What is wrong, one line per layer, from all ranks' tables (each of the same layers); empty when nothing is.
//   layer 3: context-parallel rank 1 sent 4096 bytes fewer than its plan
std::vector<std::string> check_exchange(const std::vector<std::vector<std::int64_t>>& tables_of_ranks);

}  // namespace ringtron

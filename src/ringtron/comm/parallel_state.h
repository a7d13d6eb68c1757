// All groups of this rank, made once per process from the grid.
//
// Passed by const reference; the communicators in it are live, so a layer that holds the state may
// communicate. Groups of one are LocalCommunicators; the others are connected in the constructor, in one
// order on all ranks. Not thread-safe beyond what Communicator allows: one thread at a time per group,
// different groups independently.
#pragma once

#include <memory>
#include <vector>

#include "ringtron/comm/communicator.h"
#include "ringtron/comm/make_communicator.h"
#include "ringtron/comm/rendezvous.h"
#include "ringtron/grid/process_grid.h"

namespace ringtron {

class ParallelState {
 public:
  // All ranks of the run construct it with the same grid and back end. `rendezvous` must outlive it.
  // ConfigError if the grid's world size is not the rendezvous'; CommError if a peer does not come.
  ParallelState(const ProcessGrid& grid, Backend backend, const Rendezvous& rendezvous);

  const ProcessGrid& grid() const { return grid_; }
  int rank() const { return rank_; }
  int world_size() const { return grid_.world_size(); }

  int tp_rank() const { return grid_.coordinate(rank_, Axis::tensor); }
  int cp_rank() const { return grid_.coordinate(rank_, Axis::context); }
  int dp_rank() const { return grid_.coordinate(rank_, Axis::data); }
  int pp_rank() const { return grid_.coordinate(rank_, Axis::pipeline); }
  int tp_size() const { return grid_.size(Axis::tensor); }
  int cp_size() const { return grid_.size(Axis::context); }
  int dp_size() const { return grid_.size(Axis::data); }
  int pp_size() const { return grid_.size(Axis::pipeline); }

  Communicator& tensor() const { return *tensor_; }
  Communicator& context() const { return *context_; }
  Communicator& data() const { return *data_; }
  Communicator& data_context() const { return *data_context_; }  // where gradients and the loss are summed
  Communicator& tensor_context() const { return *tensor_context_; }
  Communicator& model() const { return *model_; }  // tensor x pipeline: the gradient norm
  // All ranks, always over Gloo and for CPU tensors: what hosts agree on must not wait for a GPU.
  Communicator& world() const { return *world_; }

 private:
  std::unique_ptr<Communicator> make(Backend backend, const char* name, AxisSet axes,
                                     const Rendezvous& rendezvous);

  ProcessGrid grid_;
  int rank_;
  // Made in this order, which is Megatron's; `world` last.
  std::unique_ptr<Communicator> data_context_, data_, context_, model_, tensor_, tensor_context_, world_;
};

}  // namespace ringtron

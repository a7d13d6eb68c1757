// All groups of this rank, from the grid: one for every set of axes.
//
// Passed by const reference; the communicators in it are live, so a layer that holds the state may communicate. Groups
// of one are LocalCommunicators. Sets of axes with the same members still have communicators of their own, so that one
// may be at work while another is. Not thread-safe beyond what Communicator allows: one thread at a time per group,
// different groups independently.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "ringtron/comm/communicator.h"
#include "ringtron/comm/make_communicator.h"
#include "ringtron/comm/rendezvous/rendezvous.h"
#include "ringtron/grid/process_grid.h"

namespace ringtron {

class ParallelState {
 public:
  // All ranks of the run construct it with the same grid and back end. `rendezvous` must outlive it. Connects the
  // groups that have a name below, in one order on all ranks. ConfigError if the grid's world size is not the
  // rendezvous'; CommError if a peer does not come.
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

  // The ranks that differ from this one along `axes` only, in the grid's order; of the empty set this rank alone. A
  // group without a name below is connected when it is first asked for: then all its ranks ask, and ask for several
  // such groups in the same order. CommError if a peer does not come.
  Communicator& group(AxisSet axes) const;

  // A group that is no set of axes, for one user: make_communicator() with this run's back end. The ranks of one group
  // make it with the same name and members, and groups of one name are disjoint. CommError if a peer does not come.
  std::unique_ptr<Communicator> make_group(const std::string& name, const std::vector<int>& members) const;

  Communicator& tensor() const { return group(Axis::tensor); }
  Communicator& context() const { return group(Axis::context); }
  Communicator& data() const { return group(Axis::data); }
  Communicator& data_context() const { return group(kDataContextAxes); }  // where gradients and the loss are summed
  Communicator& tensor_context() const { return group(Axis::tensor | Axis::context); }
  Communicator& model() const { return group(Axis::tensor | Axis::pipeline); }  // the gradient norm
  // All ranks, always over Gloo and for CPU tensors: what hosts agree on must not wait for a GPU.
  Communicator& world() const { return *world_; }

 private:
  ProcessGrid grid_;
  int rank_;
  Backend backend_;
  const Rendezvous& rendezvous_;
  mutable std::array<std::unique_ptr<Communicator>, kAxisSetCount> groups_;  // by AxisSet::index(); null: not connected
  std::unique_ptr<Communicator> world_;
};

}  // namespace ringtron

// One group of ranks, and the operations they do together.
//
// All ranks of a group call the same operations in the same order with the same shapes and types; CheckedCommunicator
// verifies that. Every operation returns at once with a Work, except that exchange() may first wait for its peers'
// hosts to come to it. The result may be used after Work::wait(), and the tensors must stay alive and untouched until
// then. On CPU wait() blocks the thread; on CUDA it makes the current stream wait, not the host: each back end
// communicates on streams of its own. An operation or a wait throws CommError, within the group's timeout, when a peer
// dies, never comes or disagrees; it names the group, the operation, its sequence number and, where it is known, the
// rank waited for. After that the communicator is of no further use. Not thread-safe: one thread at a time per
// communicator. Tensors must be contiguous. A group of one (LocalCommunicator) does every operation as the identity.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace ringtron {

enum class ReduceOp { sum, max, min };

// An operation under way. Copies share it. A default-made Work is already done.
class Work {
 public:
  class State {
   public:
    virtual ~State() = default;
    virtual void wait() = 0;  // throws CommError; may be called more than once
  };
  Work() = default;
  explicit Work(std::shared_ptr<State> state) : state_(std::move(state)) {}
  void wait() {
    if (state_) state_->wait();
  }

 private:
  std::shared_ptr<State> state_;
};

// One message of a grouped point-to-point step; `peer` is a rank of the group.
struct Send {
  int peer;
  at::Tensor tensor;
};
struct Receive {
  int peer;
  at::Tensor tensor;
};

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual const std::string& name() const = 0;  // for messages: "tensor-parallel", "context-parallel", ...
  virtual int rank() const = 0;                 // within the group
  virtual int size() const = 0;
  virtual int global_rank(int group_rank) const = 0;
  // Whether exchange() leaves a device's multiprocessors to others. May become true with the first exchange, then on
  // all ranks.
  virtual bool exchanges_without_kernels() const { return false; }

  // In place.
  virtual Work all_reduce(at::Tensor tensor, ReduceOp op = ReduceOp::sum) = 0;
  // whole.size(0) == size() * shard.size(0): the ranks' shards one after the other along dim 0.
  virtual Work all_gather(at::Tensor shard, at::Tensor whole) = 0;
  // The sum (or other) of all ranks' `whole`, of which this rank keeps its slice of dim 0.
  virtual Work reduce_scatter(at::Tensor whole, at::Tensor shard, ReduceOp op = ReduceOp::sum) = 0;
  // Slice i of `in` along dim 0 (equal sizes) goes to rank i; slice i of `out` comes from rank i.
  virtual Work all_to_all(at::Tensor in, at::Tensor out) = 0;
  // One grouped point-to-point step: all sends and receives together, so that no order can deadlock. Messages between
  // one pair of ranks match in the order given. Rank-to-itself messages are not allowed.
  // All ranks call it, also one without a message in this step: its Work is done at once. A message of no elements is
  // listed at both ends like any other; nothing is sent for it, and the ones after it still match.
  virtual Work exchange(std::span<const Send> sends, std::span<const Receive> receives) = 0;
  // From `root` (a rank of the group) to all, in place.
  virtual Work broadcast(at::Tensor tensor, int root) = 0;
  // Returns when all ranks have entered it. Blocks the host on every back end.
  virtual void barrier() = 0;
};

// Whether exchange() leaves the multiprocessors of this device to others. Collective: the first time it sends a
// message, to find out.
bool uses_copy_engines(Communicator& group, at::Device device);

}  // namespace ringtron

// What all wrappers of a communicator share: the group is the inner one's, and each operation goes to it after the
// wrapper has seen it. A wrapper overrides one function, before(), so none can let an operation pass unseen.
#pragma once

#include <string>

#include "ringtron/comm/communicator.h"

namespace ringtron {

enum class CommOperation : std::int64_t {
  all_reduce,
  all_gather,
  reduce_scatter,
  all_to_all,
  exchange,
  broadcast,
  barrier
};
const char* to_text(CommOperation operation);

// One operation as this rank calls it.
struct CommCall {
  CommOperation operation;
  at::Tensor given = {};  // what this rank gives; undefined in an exchange or a barrier
  at::Tensor whole = {};  // of the whole group: the larger of the operation's tensors
  int reduction = -1;     // a ReduceOp; -1: none
  int root = -1;          // of a broadcast
  std::span<const Send> sends = {};
  std::span<const Receive> receives = {};
};

class ForwardingCommunicator : public Communicator {
 public:
  explicit ForwardingCommunicator(Communicator& inner) : inner_(inner) {}  // `inner` must outlive this

  const std::string& name() const final { return inner_.name(); }
  int rank() const final { return inner_.rank(); }
  int size() const final { return inner_.size(); }
  int global_rank(int group_rank) const final { return inner_.global_rank(group_rank); }
  bool exchanges_without_kernels() const final { return inner_.exchanges_without_kernels(); }

  Work all_reduce(at::Tensor tensor, ReduceOp op) final;
  Work all_gather(at::Tensor shard, at::Tensor whole) final;
  Work reduce_scatter(at::Tensor whole, at::Tensor shard, ReduceOp op) final;
  Work all_to_all(at::Tensor in, at::Tensor out) final;
  Work exchange(std::span<const Send> sends, std::span<const Receive> receives) final;
  Work broadcast(at::Tensor tensor, int root) final;
  void barrier() final;

 private:
  // False: the inner communicator is not to do it; its Work is done at once then.
  virtual bool before(const CommCall& call) = 0;

  Communicator& inner_;
};

}  // namespace ringtron

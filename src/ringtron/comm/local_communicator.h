// A group of one rank: every operation is the identity. Lets the layers above have no special case for size
// one.
#pragma once

#include <string>

#include "ringtron/comm/communicator.h"

namespace ringtron {

class LocalCommunicator final : public Communicator {
 public:
  LocalCommunicator(std::string name, int global_rank) : name_(std::move(name)), global_rank_(global_rank) {}

  const std::string& name() const override { return name_; }
  int rank() const override { return 0; }
  int size() const override { return 1; }
  int global_rank(int group_rank) const override;

  Work all_reduce(at::Tensor tensor, ReduceOp op) override;
  Work all_gather(at::Tensor shard, at::Tensor whole) override;
  Work reduce_scatter(at::Tensor whole, at::Tensor shard, ReduceOp op) override;
  Work all_to_all(at::Tensor in, at::Tensor out) override;
  Work exchange(std::span<const Send> sends, std::span<const Receive> receives) override;
  Work broadcast(at::Tensor tensor, int root) override;
  void barrier() override {}

 private:
  std::string name_;
  int global_rank_;
};

}  // namespace ringtron

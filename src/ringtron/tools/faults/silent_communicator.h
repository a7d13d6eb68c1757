// A communicator whose exchanges send nothing: what would be received is zero. Everything else goes through.
#pragma once

#include "ringtron/comm/decorators/forwarding_communicator.h"

namespace ringtron {

class SilentCommunicator final : public ForwardingCommunicator {
 public:
  using ForwardingCommunicator::ForwardingCommunicator;

  Work all_reduce(at::Tensor tensor, ReduceOp op) override { return inner().all_reduce(std::move(tensor), op); }
  Work all_gather(at::Tensor shard, at::Tensor whole) override {
    return inner().all_gather(std::move(shard), std::move(whole));
  }
  Work reduce_scatter(at::Tensor whole, at::Tensor shard, ReduceOp op) override {
    return inner().reduce_scatter(std::move(whole), std::move(shard), op);
  }
  Work all_to_all(at::Tensor in, at::Tensor out) override { return inner().all_to_all(std::move(in), std::move(out)); }
  Work exchange(std::span<const Send> sends, std::span<const Receive> receives) override;
  Work broadcast(at::Tensor tensor, int root) override { return inner().broadcast(std::move(tensor), root); }
  void barrier() override { inner().barrier(); }
};

}  // namespace ringtron

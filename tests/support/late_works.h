// A communicator whose operations do nothing before they are waited for, for tests of who waits: whatever is read too
// early is old for certain, not by chance. All ranks of the group wait in one order, or in groups of two ranks.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ringtron/comm/communicator.h"

namespace ringtron::testing {

class LateWorks final : public Communicator {
 public:
  explicit LateWorks(Communicator& inner) : inner_(inner) {}  // `inner` outlives this and its works

  const std::string& name() const override { return inner_.name(); }
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  int global_rank(int group_rank) const override { return inner_.global_rank(group_rank); }

  Work all_reduce(at::Tensor tensor, ReduceOp op) override {
    return late([=](Communicator& inner) { return inner.all_reduce(tensor, op); });
  }
  Work all_gather(at::Tensor shard, at::Tensor whole) override {
    return late([=](Communicator& inner) { return inner.all_gather(shard, whole); });
  }
  Work reduce_scatter(at::Tensor whole, at::Tensor shard, ReduceOp op) override {
    return late([=](Communicator& inner) { return inner.reduce_scatter(whole, shard, op); });
  }
  Work all_to_all(at::Tensor in, at::Tensor out) override {
    return late([=](Communicator& inner) { return inner.all_to_all(in, out); });
  }
  Work exchange(std::span<const Send> sends, std::span<const Receive> receives) override {
    return late([sent = std::vector<Send>(sends.begin(), sends.end()),
                 received = std::vector<Receive>(receives.begin(), receives.end())](Communicator& inner) {
      return inner.exchange(sent, received);
    });
  }
  Work broadcast(at::Tensor tensor, int root) override {
    return late([=](Communicator& inner) { return inner.broadcast(tensor, root); });
  }
  void barrier() override { inner_.barrier(); }

 private:
  using Operation = std::function<Work(Communicator&)>;

  class Late final : public Work::State {
   public:
    Late(Communicator& inner, Operation operation) : inner_(inner), operation_(std::move(operation)) {}
    void wait() override {
      if (operation_) operation_(inner_).wait();
      operation_ = nullptr;
    }

   private:
    Communicator& inner_;
    Operation operation_;
  };

  Work late(Operation operation) { return Work(std::make_shared<Late>(inner_, std::move(operation))); }

  Communicator& inner_;
};

}  // namespace ringtron::testing

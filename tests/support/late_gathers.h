// A communicator whose all_gather does nothing before it is waited for, for tests of who waits: whatever is read too
// early is old for certain, not by chance. All ranks of the group wait in one order.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "ringtron/comm/communicator.h"

namespace ringtron::testing {

class LateGathers final : public Communicator {
 public:
  explicit LateGathers(Communicator& inner) : inner_(inner) {}  // `inner` outlives this and its works

  const std::string& name() const override { return inner_.name(); }
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  int global_rank(int group_rank) const override { return inner_.global_rank(group_rank); }

  Work all_gather(at::Tensor shard, at::Tensor whole) override {
    return Work(std::make_shared<Late>(inner_, std::move(shard), std::move(whole)));
  }
  Work all_reduce(at::Tensor tensor, ReduceOp op) override { return inner_.all_reduce(std::move(tensor), op); }
  Work reduce_scatter(at::Tensor whole, at::Tensor shard, ReduceOp op) override {
    return inner_.reduce_scatter(std::move(whole), std::move(shard), op);
  }
  Work all_to_all(at::Tensor in, at::Tensor out) override { return inner_.all_to_all(std::move(in), std::move(out)); }
  Work exchange(std::span<const Send> sends, std::span<const Receive> receives) override {
    return inner_.exchange(sends, receives);
  }
  Work broadcast(at::Tensor tensor, int root) override { return inner_.broadcast(std::move(tensor), root); }
  void barrier() override { inner_.barrier(); }

 private:
  class Late final : public Work::State {
   public:
    Late(Communicator& inner, at::Tensor shard, at::Tensor whole)
        : inner_(inner), shard_(std::move(shard)), whole_(std::move(whole)) {}
    void wait() override {
      if (is_done_) return;
      inner_.all_gather(shard_, whole_).wait();
      is_done_ = true;
    }

   private:
    Communicator& inner_;
    at::Tensor shard_, whole_;
    bool is_done_ = false;
  };

  Communicator& inner_;
};

}  // namespace ringtron::testing

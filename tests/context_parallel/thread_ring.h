// Test double: the ranks of one group as threads of this process. Only exchange() and barrier-free use;
// exact, ordered per pair of ranks, and fails with CommError instead of hanging when a peer stays away for a
// minute.
//
//   ThreadRing ring(8);
//   ring.run([](Communicator& comm) { ... });   // on every rank; rethrows the first exception
#pragma once

#include <ATen/ATen.h>

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "ringtron/base/error.h"
#include "ringtron/comm/communicator.h"

namespace ringtron::testing {

class Mailboxes {
 public:
  void put(int from, int to, at::Tensor tensor) {
    {
      const std::lock_guard lock(mutex_);
      boxes_[{from, to}].push_back(std::move(tensor));
    }
    changed_.notify_all();
  }
  at::Tensor take(int from, int to) {
    std::unique_lock lock(mutex_);
    auto& box = boxes_[{from, to}];
    if (!changed_.wait_for(lock, std::chrono::minutes(1), [&] { return !box.empty(); })) {
      throw CommError("thread ring: rank " + std::to_string(from) + " sent nothing to " + std::to_string(to));
    }
    at::Tensor tensor = box.front();
    box.pop_front();
    return tensor;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::pair<int, int>, std::deque<at::Tensor>> boxes_;
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(Mailboxes& boxes, int rank, int size) : boxes_(boxes), rank_(rank), size_(size) {}

  const std::string& name() const override { return name_; }
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int global_rank(int group_rank) const override { return group_rank; }
  Work exchange(std::span<const Send> sends, std::span<const Receive> receives) override {
    for (const Send& send : sends) boxes_.put(rank_, send.peer, send.tensor.clone());
    return Work(
        std::make_shared<Arrival>(boxes_, rank_, std::vector<Receive>(receives.begin(), receives.end())));
  }
  Work all_reduce(at::Tensor, ReduceOp) override { return refuse(); }
  Work all_gather(at::Tensor, at::Tensor) override { return refuse(); }
  Work reduce_scatter(at::Tensor, at::Tensor, ReduceOp) override { return refuse(); }
  Work all_to_all(at::Tensor, at::Tensor) override { return refuse(); }
  Work broadcast(at::Tensor, int) override { return refuse(); }
  void barrier() override { refuse(); }

 private:
  // The receive happens in wait(): until then the buffer keeps its old bytes, which is the latest a real one
  // may fill it.
  class Arrival final : public Work::State {
   public:
    Arrival(Mailboxes& boxes, int rank, std::vector<Receive> receives)
        : boxes_(boxes), rank_(rank), receives_(std::move(receives)) {}
    void wait() override {
      for (Receive& receive : receives_) receive.tensor.copy_(boxes_.take(receive.peer, rank_));
      receives_.clear();
    }

   private:
    Mailboxes& boxes_;
    int rank_;
    std::vector<Receive> receives_;
  };
  Work refuse() const { throw CommError("thread ring: only exchange() is simulated"); }

  Mailboxes& boxes_;
  int rank_, size_;
  std::string name_ = "context-parallel";
};

class ThreadRing {
 public:
  explicit ThreadRing(int size) : size_(size) {}

  void run(const std::function<void(Communicator&)>& body) {
    Mailboxes boxes;
    std::vector<std::thread> threads;
    std::vector<std::exception_ptr> failures(static_cast<std::size_t>(size_));
    for (int rank = 0; rank < size_; ++rank) {
      threads.emplace_back([&, rank] {
        try {
          ThreadCommunicator comm(boxes, rank, size_);
          body(comm);
        } catch (...) {
          failures[rank] = std::current_exception();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const std::exception_ptr& failure : failures) {
      if (failure) std::rethrow_exception(failure);
    }
  }

 private:
  int size_;
};

}  // namespace ringtron::testing

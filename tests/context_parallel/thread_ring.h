// Test double: the ranks of one group as threads of this process. Only exchange(), which is all that
// attention uses; exact and ordered per pair of ranks. When one rank throws, the others' waits fail with
// CommError at once.
//
//   ThreadRing ring(8);
//   ring.run([](Communicator& comm) { ... });   // on every rank; rethrows the exception that came first
//
// Stricter than a real back end where the contract of communicator.h leaves room: buffers to receive into
// hold NaN until wait() fills them, and wait() fails when a tensor was changed on its way, is not contiguous
// or has another size or type than its sender's.
#pragma once

#include <ATen/ATen.h>

#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ringtron/base/check.h"
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
    if (!changed_.wait_for(lock, std::chrono::minutes(1), [&] { return !box.empty() || first_failure_; })) {
      throw CommError("thread ring: rank " + std::to_string(from) + " sent nothing to " + std::to_string(to));
    }
    if (box.empty()) throw CommError("thread ring: another rank failed");
    at::Tensor tensor = box.front();
    box.pop_front();
    return tensor;
  }
  // From now on nobody waits for a message that is not there.
  void fail(std::exception_ptr failure) {
    {
      const std::lock_guard lock(mutex_);
      if (!first_failure_) first_failure_ = std::move(failure);
    }
    changed_.notify_all();
  }
  // After all ranks have ended.
  void check() const {
    if (first_failure_) std::rethrow_exception(first_failure_);
    for (const auto& [ends, box] : boxes_) {
      RT_CHECK(box.empty(), "thread ring: {} messages from rank {} to {} were never received", box.size(), ends.first,
               ends.second);
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::pair<int, int>, std::deque<at::Tensor>> boxes_;
  std::exception_ptr first_failure_;
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(Mailboxes& boxes, int rank, int size) : boxes_(boxes), rank_(rank), size_(size) {}

  const std::string& name() const override { return name_; }
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int global_rank(int group_rank) const override { return group_rank; }
  Work exchange(std::span<const Send> sends, std::span<const Receive> receives) override {
    std::vector<Sent> sent;
    for (const Send& send : sends) {
      check_message("send", send.peer, send.tensor);
      sent.push_back({send.tensor, send.tensor.detach().clone()});
      boxes_.put(rank_, send.peer, sent.back().copy);
    }
    for (const Receive& receive : receives) {
      check_message("receive", receive.peer, receive.tensor);
      if (receive.tensor.is_floating_point()) {
        at::Tensor(receive.tensor).detach().fill_(std::numeric_limits<double>::quiet_NaN());
      }
    }
    return Work(std::make_shared<Travel>(boxes_, rank_, std::move(sent),
                                         std::vector<Receive>(receives.begin(), receives.end())));
  }
  Work all_reduce(at::Tensor, ReduceOp) override { return refuse(); }
  Work all_gather(at::Tensor, at::Tensor) override { return refuse(); }
  Work reduce_scatter(at::Tensor, at::Tensor, ReduceOp) override { return refuse(); }
  Work all_to_all(at::Tensor, at::Tensor) override { return refuse(); }
  Work broadcast(at::Tensor, int) override { return refuse(); }
  void barrier() override { refuse(); }

 private:
  struct Sent {
    at::Tensor tensor, copy;
  };

  // The receive happens in wait(): the latest a real back end may fill the buffer.
  class Travel final : public Work::State {
   public:
    Travel(Mailboxes& boxes, int rank, std::vector<Sent> sent, std::vector<Receive> receives)
        : boxes_(boxes), rank_(rank), sent_(std::move(sent)), receives_(std::move(receives)) {}
    void wait() override {
      for (const Sent& sent : sent_) {
        RT_CHECK(sent.tensor.nbytes() == 0 ||
                     std::memcmp(sent.tensor.const_data_ptr(), sent.copy.const_data_ptr(), sent.tensor.nbytes()) == 0,
                 "thread ring: rank {} changed a tensor while it was sent", rank_);
      }
      for (Receive& receive : receives_) {
        const at::Tensor came = boxes_.take(receive.peer, rank_);
        RT_CHECK_EQ(receive.tensor.numel(), came.numel(), "thread ring: elements of a message");
        RT_CHECK(receive.tensor.scalar_type() == came.scalar_type(), "thread ring: another type was sent");
        receive.tensor.detach().view({-1}).copy_(came.view({-1}));
      }
      sent_.clear();
      receives_.clear();
    }

   private:
    Mailboxes& boxes_;
    int rank_;
    std::vector<Sent> sent_;
    std::vector<Receive> receives_;
  };

  void check_message(const char* what, int peer, const at::Tensor& tensor) const {
    RT_CHECK(peer >= 0 && peer < size_ && peer != rank_, "thread ring: rank {} of {}: bad peer {} to {}", rank_, size_,
             peer, what);
    RT_CHECK(tensor.is_contiguous(), "thread ring: rank {}: a tensor to {} is not contiguous", rank_, what);
  }
  Work refuse() const { throw CommError("thread ring: only exchange() is simulated"); }

  Mailboxes& boxes_;
  int rank_, size_;
  std::string name_ = "context-parallel";
};

class ThreadRing {
 public:
  explicit ThreadRing(int size) : size_(size) {}

  void run(const std::function<void(Communicator&)>& body) const {
    Mailboxes boxes;
    std::vector<std::thread> threads;
    for (int rank = 0; rank < size_; ++rank) {
      threads.emplace_back([&, rank] {
        try {
          ThreadCommunicator comm(boxes, rank, size_);
          body(comm);
        } catch (...) {
          boxes.fail(std::current_exception());
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    boxes.check();
  }

 private:
  int size_;
};

}  // namespace ringtron::testing

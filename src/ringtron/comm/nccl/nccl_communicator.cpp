// Communication between GPUs, over c10d's NCCL process group; point-to-point messages within a machine by copy engines
// where that works (PeerCopies).
//
// NCCL runs on a stream of its own; Work::wait() makes the current stream wait and leaves the host free. A
// dead peer would leave NCCL's kernels spinning for ever, and c10d's own watchdog ends the process instead of
// throwing. So each communicator has a monitor thread: it aborts the group when the liveness service reports
// a loss or an operation is older than the timeout. After that the kernels end, and every later operation or
// wait here throws CommError.
#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <fmt/format.h>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/comm/backends.h"
#include "ringtron/comm/c10d_reduce_op.h"
#include "ringtron/comm/nccl/watchdog.h"
#include "ringtron/comm/peer_copy/peer_copies_setup.h"
#include "ringtron/comm/rendezvous/rendezvous_store.h"

namespace ringtron {
namespace {

using C10dWork = c10::intrusive_ptr<c10d::Work>;

constexpr auto kMonitorPeriod = std::chrono::milliseconds(200);
constexpr auto kReleasePeriod = std::chrono::milliseconds(20);

// c10d reads these when a process group is made.
void set_environment() {
  ::setenv("NCCL_NVLS_ENABLE", "0",
           0);  // NVLink multicast needs rights that containers lack; what the user has set stays
  // Not the user's to set, and ignored_variables.h tells who has: our monitor aborts, c10d's would end the process, and
  // a host that blocks in each wait hides no message behind compute. Each has an older name.
  for (const char* name : {"ASYNC_ERROR_HANDLING", "ENABLE_MONITORING", "BLOCKING_WAIT"}) {
    ::setenv(fmt::format("TORCH_NCCL_{}", name).c_str(), "0", 1);
    ::unsetenv(fmt::format("NCCL_{}", name).c_str());
  }
}

// The process group and its monitor. Works hold it too, so that it outlives them.
class NcclChannel {
 public:
  NcclChannel(Group group, const std::string& key, const Rendezvous& rendezvous)
      : group_(std::move(group)),
        liveness_(rendezvous.liveness()),
        copies_wanted_(rendezvous.options().peer_copies),
        copies_store_(store_with_prefix(rendezvous, key + "/peer_copies")) {
    set_environment();
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = group_.timeout;
    // Messages wait for compute, which they are to hide behind: they go first when a multiprocessor becomes free.
    options->is_high_priority_stream = true;
    nccl_ = c10::make_intrusive<c10d::ProcessGroupNCCL>(store_with_prefix(rendezvous, key), group_.rank, group_.size(),
                                                        options);
    monitor_ = std::thread([this] { monitor(); });
    if (liveness_ != nullptr) callback_ = liveness_->on_loss([this] { request_abort("a peer died"); });
  }

  ~NcclChannel() {
    try {
      if (copies_) copies_->drain();   // while a peer's death is still told and the monitor can end the wait
    } catch (const std::exception&) {  // as below
    }
    if (liveness_ != nullptr) liveness_->forget(callback_);
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    monitor_.join();
    try {
      if (aborted_) return;
      if (std::uncaught_exceptions() > 0) {
        nccl_->abort();
      } else {
        nccl_->shutdown();
      }
    } catch (const std::exception&) {  // the group is going anyway
    }
  }

  const Group& group() const { return group_; }
  c10d::ProcessGroupNCCL& nccl() { return *nccl_; }

  void throw_if_aborted(const CommOperation& operation) {
    if (!aborted_) return;
    std::lock_guard lock(mutex_);
    throw_comm_error(group_, operation, reason_);
  }

  // What is under the monitor's eyes.
  Watchdog& watch() { return watch_; }

  // For who waits for a peer on the host: throws when there is no use in it any more.
  std::function<void()> check_peers(const CommOperation& operation) {
    return [this, operation, begun = std::chrono::steady_clock::now()] {
      throw_if_aborted(operation);
      if (std::chrono::steady_clock::now() - begun > group_.timeout) throw_comm_error(group_, operation, "Timed out");
    };
  }

  // Before each exchange. All ranks meet in the first, to find out about copies(); later calls do nothing.
  void try_copies(const CommOperation& operation) {
    if (!copies_wanted_) return;
    copies_wanted_ = false;  // also where this fails: the others would not meet us again
    PeerCopiesSetup setup = set_up_peer_copies(group_, *copies_store_, check_peers(operation));
    if (!setup.copies && group_.members.front() == 0 && group_.rank == 0) {
      fmt::print(stderr, "{} group: NCCL's kernels carry its messages, not copy engines, since {}\n", group_.name,
                 setup.why_not);
    }
    const std::lock_guard lock(mutex_);
    copies_ = std::move(setup.copies);
  }

  // The way of messages that NCCL need not carry; null where there is none.
  PeerCopies* copies() const { return copies_.get(); }

 private:
  void request_abort(const std::string& reason) {
    {
      std::lock_guard lock(mutex_);
      if (reason_.empty()) reason_ = reason;
    }
    wake_.notify_all();
  }

  void monitor() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      wake_.wait_for(lock, kMonitorPeriod);
      if (stopping_) return;
      const auto oldest = watch_.oldest();
      if (reason_.empty() && oldest && std::chrono::steady_clock::now() - *oldest > group_.timeout)
        reason_ = "Timed out";
      if (reason_.empty()) continue;
      aborted_ = true;
      lock.unlock();
      watch_.clear();
      end_operations();
      return;
    }
  }

  // NCCL may wait for the device, whose streams may wait for a copy: so both at once, and copies until all is over.
  void end_operations() {
    std::atomic<bool> ended = false;
    std::thread ends([&] {
      try {
        nccl_->abort();
      } catch (const std::exception&) {  // what matters is that operations end; the reason is known already
      }
      ended = true;
      wake_.notify_all();
    });
    {
      std::unique_lock lock(mutex_);
      do {
        if (copies_) copies_->release();
        wake_.wait_for(lock, kReleasePeriod);
      } while (!stopping_ || !ended);
    }
    ends.join();
  }

  Group group_;
  Liveness* liveness_;
  int callback_ = 0;
  bool copies_wanted_;  // and not tried yet
  c10::intrusive_ptr<c10d::Store> copies_store_;
  std::unique_ptr<PeerCopies> copies_;
  c10::intrusive_ptr<c10d::ProcessGroupNCCL> nccl_;
  std::atomic<bool> aborted_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::string reason_;
  bool stopping_ = false;
  Watchdog watch_;
  std::thread monitor_;
};

template <class Step>
auto guarded(NcclChannel& channel, const CommOperation& operation, Step step) {
  channel.throw_if_aborted(operation);
  try {
    return step();
  } catch (const InternalError&) {
    throw;
  } catch (const CommError&) {
    throw;
  } catch (const std::exception& error) {
    throw_comm_error(channel.group(), operation, error.what());
  }
}

class NcclWork final : public Work::State {
 public:
  NcclWork(std::shared_ptr<NcclChannel> channel, CommOperation operation, Watchdog::Handle watched)
      : channel_(std::move(channel)), operation_(operation), watched_(std::move(watched)) {}

  void wait() override {
    guarded(*channel_, operation_, [&] {
      const C10dWork work = channel_->watch().work(watched_);
      if (!work) {
        if (landed_) landed_->block(at::cuda::getCurrentCUDAStream());
        return;
      }
      work->wait();
      // This stream goes on when the operation has ended. Recording may block while the stream's queue is full, so no
      // lock is held: the monitor must be able to abort.
      landed_ = std::make_shared<at::cuda::CUDAEvent>();
      landed_->record();
      channel_->watch().waited(watched_, [landed = landed_] { return landed->query(); });
    });
  }

 private:
  std::shared_ptr<NcclChannel> channel_;
  CommOperation operation_;
  Watchdog::Handle watched_;
  std::shared_ptr<at::cuda::CUDAEvent> landed_;  // once it has been waited for
};

class CopyWork final : public Work::State {
 public:
  CopyWork(std::shared_ptr<NcclChannel> channel, PeerCopies& copies, CommOperation operation, PeerCopies::Ticket ticket)
      : channel_(std::move(channel)), copies_(copies), operation_(operation), ticket_(std::move(ticket)) {}

  void wait() override {
    guarded(*channel_, operation_, [&] { copies_.wait(ticket_); });
  }

 private:
  std::shared_ptr<NcclChannel> channel_;  // holds the copies
  PeerCopies& copies_;
  CommOperation operation_;
  PeerCopies::Ticket ticket_;
};

class NcclCommunicator final : public Communicator {
 public:
  explicit NcclCommunicator(std::shared_ptr<NcclChannel> channel) : channel_(std::move(channel)) {}

  const std::string& name() const override { return group().name; }
  int rank() const override { return group().rank; }
  int size() const override { return group().size(); }
  int global_rank(int group_rank) const override { return group().members.at(group_rank); }
  bool exchanges_without_kernels() const override { return channel_->copies() != nullptr; }

  Work all_reduce(at::Tensor tensor, ReduceOp op) override {
    RT_CHECK(tensor.is_contiguous(), "{} group: all_reduce needs a contiguous tensor", name());
    return start("all_reduce", tensor.numel(), [&] {
      std::vector<at::Tensor> tensors{tensor};
      c10d::AllreduceOptions options;
      options.reduceOp = to_c10d(op);
      return nccl().allreduce(tensors, options);
    });
  }

  Work all_gather(at::Tensor shard, at::Tensor whole) override {
    check_all_gather(group(), shard, whole);
    return start("all_gather", shard.numel(), [&] {
      at::Tensor flat_shard = shard.view({-1});
      at::Tensor flat_whole = whole.view({-1});
      return nccl()._allgather_base(flat_whole, flat_shard);
    });
  }

  Work reduce_scatter(at::Tensor whole, at::Tensor shard, ReduceOp op) override {
    check_reduce_scatter(group(), whole, shard);
    return start("reduce_scatter", shard.numel(), [&] {
      at::Tensor flat_shard = shard.view({-1});
      at::Tensor flat_whole = whole.view({-1});
      c10d::ReduceScatterOptions options;
      options.reduceOp = to_c10d(op);
      return nccl()._reduce_scatter_base(flat_shard, flat_whole, options);
    });
  }

  Work all_to_all(at::Tensor in, at::Tensor out) override {
    check_all_to_all(group(), in, out);
    return start("all_to_all", in.numel(), [&] {
      at::Tensor flat_in = in.view({-1});
      at::Tensor flat_out = out.view({-1});
      std::vector<std::int64_t> equal_splits;
      return nccl().alltoall_base(flat_out, flat_in, equal_splits, equal_splits);
    });
  }

  Work exchange(std::span<const Send> sends, std::span<const Receive> receives) override {
    check_exchange(group(), sends, receives);
    const CommOperation next{"exchange", sequence_ + 1};
    guarded(*channel_, next, [&] { channel_->try_copies(next); });
    if (channel_->copies() != nullptr) return copy(sends, receives);
    connect_all();
    std::int64_t elements = 0;
    for (const Send& message : sends) elements += message.tensor.numel();
    for (const Receive& message : receives) elements += message.tensor.numel();
    return start("exchange", elements, [&] {
      // Grouped: NCCL runs point-to-point calls one after the other otherwise, and two ranks wait for each
      // other.
      nccl().startCoalescing();
      for (const Send& message : sends) {
        std::vector<at::Tensor> tensors{message.tensor};
        if (message.tensor.numel() > 0) nccl().send(tensors, message.peer, 0);
      }
      for (const Receive& message : receives) {
        std::vector<at::Tensor> tensors{message.tensor};
        if (message.tensor.numel() > 0) nccl().recv(tensors, message.peer, 0);
      }
      return nccl().endCoalescing();
    });
  }

  Work broadcast(at::Tensor tensor, int root) override {
    RT_CHECK(tensor.is_contiguous(), "{} group: broadcast needs a contiguous tensor", name());
    return start("broadcast", tensor.numel(), [&] {
      std::vector<at::Tensor> tensors{tensor};
      c10d::BroadcastOptions options;
      options.rootRank = root;
      return nccl().broadcast(tensors, options);
    });
  }

  void barrier() override {
    at::Tensor token = at::zeros({1}, at::TensorOptions().device(at::kCUDA).dtype(at::kFloat));
    Work work = start("barrier", 1, [&] {
      std::vector<at::Tensor> tensors{token};
      return nccl().allreduce(tensors);
    });
    work.wait();
    guarded(*channel_, operation_, [] { at::cuda::getCurrentCUDAStream().synchronize(); });
    channel_->throw_if_aborted(operation_);  // an abort ends the wait as well
    connected_ = true;
  }

 private:
  const Group& group() const { return channel_->group(); }
  c10d::ProcessGroupNCCL& nccl() { return channel_->nccl(); }

  template <class Start>
  Work start(const char* name, std::int64_t elements, Start begin) {
    operation_ = {name, ++sequence_};
    if (elements == 0) {
      channel_->throw_if_aborted(operation_);
      return {};
    }
    Watchdog::Handle watched = channel_->watch().add(guarded(*channel_, operation_, begin));
    return Work(std::make_shared<NcclWork>(channel_, operation_, std::move(watched)));
  }

  Work copy(std::span<const Send> sends, std::span<const Receive> receives) {
    operation_ = {"exchange", ++sequence_};
    PeerCopies& copies = *channel_->copies();
    PeerCopies::Ticket ticket = guarded(
        *channel_, operation_, [&] { return copies.exchange(sends, receives, channel_->check_peers(operation_)); });
    if (ticket.moved.empty()) return {};
    channel_->watch().add([ticket] { return PeerCopies::has_ended(ticket); });
    return Work(std::make_shared<CopyWork>(channel_, copies, operation_, std::move(ticket)));
  }

  // NCCL connects a group at its first operation and needs all ranks for that; not all may have a message to
  // exchange.
  void connect_all() {
    if (!connected_) barrier();
  }

  std::shared_ptr<NcclChannel> channel_;
  bool connected_ = false;
  std::int64_t sequence_ = 0;
  CommOperation operation_{"none", 0};
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(Group group, const std::string& key,
                                                     const Rendezvous& rendezvous) {
  if (!at::hasCUDA() || at::cuda::device_count() == 0) {
    throw ConfigError(
        "--distributed-backend nccl: expected a GPU, this machine shows none; use "
        "--distributed-backend gloo");
  }
  return std::make_unique<NcclCommunicator>(std::make_shared<NcclChannel>(std::move(group), key, rendezvous));
}

}  // namespace ringtron

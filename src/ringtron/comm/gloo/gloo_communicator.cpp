// Communication between processes on CPUs, over c10d's Gloo process group (TCP).
//
// all_reduce, all_gather, broadcast and barrier are Gloo's own. reduce_scatter and all_to_all go as direct
// messages between each pair of ranks; reduce_scatter then sums in wait(), in rank order and in fp32 for
// narrower types, so its result does not depend on arrival. Gloo's all_reduce has a fixed order for a given
// size and number of ranks. Messages of no bytes are not sent.
#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <functional>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/comm/backends.h"
#include "ringtron/comm/c10d_reduce_op.h"
#include "ringtron/comm/rendezvous/rendezvous_store.h"
#include "ringtron/comm/rendezvous/socket.h"

namespace ringtron {
namespace {

using C10dWork = c10::intrusive_ptr<c10d::Work>;
using C10dGloo = c10::intrusive_ptr<c10d::ProcessGroupGloo>;

constexpr std::chrono::milliseconds kShortest(1);

// What the works of one communicator share and outlive it with.
struct Channel {
  Group group;
  std::string failure;  // of the first operation that failed; the later ones repeat it
};

// Runs `step`; any exception of the back end becomes the CommError of `operation`.
template <class Step>
auto guarded(Channel& channel, const CommOperation& operation, Step step) {
  if (!channel.failure.empty()) throw CommError(channel.failure);
  try {
    return step();
  } catch (const InternalError&) {
    throw;
  } catch (const std::exception& error) {
    try {
      throw_comm_error(channel.group, operation, error.what());
    } catch (const CommError& comm_error) {
      channel.failure = comm_error.what();
      throw;
    }
  }
}

class GlooWork final : public Work::State {
 public:
  GlooWork(std::shared_ptr<Channel> channel, CommOperation operation)
      : channel_(std::move(channel)), operation_(operation) {}

  // `peer`: the group rank it waits for alone, or -1.
  void add(C10dWork work, int peer = -1) { parts_.emplace_back(std::move(work), peer); }
  // Runs once, when all parts have arrived.
  void then(std::function<void()> finish) { finish_ = std::move(finish); }

  void wait() override {
    if (done_) return;
    const auto deadline = SteadyClock::now() + channel_->group.timeout;  // of all parts together
    for (auto& [work, peer] : parts_) {
      CommOperation waited = operation_;
      waited.peer = peer;
      // Of no time at all c10d would make no limit.
      const auto left =
          std::max(kShortest, std::chrono::ceil<std::chrono::milliseconds>(deadline - SteadyClock::now()));
      guarded(*channel_, waited, [&] { return work->wait(left); });
    }
    done_ = true;
    parts_.clear();
    if (finish_) finish_();
    finish_ = nullptr;
  }

 private:
  std::shared_ptr<Channel> channel_;
  CommOperation operation_;
  std::vector<std::pair<C10dWork, int>> parts_;
  std::function<void()> finish_;
  bool done_ = false;
};

// Sums (or other) of `slices` into `out`, in the order given.
void reduce_in_order(const std::vector<at::Tensor>& slices, const at::Tensor& out, ReduceOp op) {
  const bool narrow = out.scalar_type() == at::kBFloat16 || out.scalar_type() == at::kHalf;
  at::Tensor total = narrow ? slices[0].to(at::kFloat) : slices[0].clone();
  for (std::size_t i = 1; i < slices.size(); ++i) {
    const at::Tensor next = narrow ? slices[i].to(at::kFloat) : slices[i];
    switch (op) {
      case ReduceOp::sum:
        total.add_(next);
        break;
      case ReduceOp::max:
        at::maximum_out(total, total, next);
        break;
      case ReduceOp::min:
        at::minimum_out(total, total, next);
        break;
    }
  }
  out.copy_(total.view(out.sizes()));
}

// Connects the group on a thread of its own, because Gloo itself would not hear of a death meanwhile and counts its
// timeout for each peer. If this throws before that thread is done, it goes on alone and ends with its last connection.
class Connecting {
 public:
  using Make = std::function<C10dGloo()>;

  static C10dGloo run(Make make, Liveness& liveness, std::chrono::milliseconds timeout) {
    const auto state = std::make_shared<Connecting>();
    std::thread([state, make = std::move(make)] { state->connect(make); }).detach();
    const int callback = liveness.on_loss([state] { state->note_loss(); });
    const bool in_time = state->wait(timeout);
    liveness.forget(callback);
    const std::lock_guard lock(state->mutex_);
    if (state->error_) std::rethrow_exception(state->error_);
    if (state->group_) return std::move(state->group_);
    throw std::runtime_error(in_time ? "a rank was lost" : "Timed out");
  }

 private:
  void connect(const Make& make) {
    C10dGloo group;
    std::exception_ptr error;
    try {
      group = make();
    } catch (...) {
      error = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    group_ = std::move(group);
    error_ = error;
    ended_.notify_all();
  }

  void note_loss() {
    const std::lock_guard lock(mutex_);
    lost_ = true;
    ended_.notify_all();
  }

  bool wait(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    return ended_.wait_for(lock, timeout, [this] { return group_ || error_ || lost_; });
  }

  std::mutex mutex_;
  std::condition_variable ended_;
  C10dGloo group_;
  std::exception_ptr error_;
  bool lost_ = false;
};

class GlooCommunicator final : public Communicator {
 public:
  GlooCommunicator(Group group, const std::string& key, const Rendezvous& rendezvous)
      : channel_(std::make_shared<Channel>(Channel{std::move(group), {}})) {
    auto options = c10d::ProcessGroupGloo::Options::create(this->group().timeout);
    options->threads = 1;  // operations of a group run one after the other anyway
    const std::set<int> before = listening_sockets();
    guarded(*channel_, {"connect", 0}, [&] {
      const char* interfaces = std::getenv("GLOO_SOCKET_IFNAME");
      options->devices.push_back(interfaces != nullptr
                                     ? c10d::ProcessGroupGloo::createDeviceForInterface(split(interfaces, ',').front())
                                     : c10d::ProcessGroupGloo::createDeviceForHostname(rendezvous.local_address()));
      const auto make = [store = store_with_prefix(rendezvous, key), rank = this->rank(), size = this->size(),
                         options] { return c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size, options); };
      gloo_ = Connecting::run(make, *rendezvous.liveness(), this->group().timeout);
    });
    // Gloo lets anybody in; now that all members are connected, nobody else has to come.
    for (const int listener : listening_sockets()) {
      if (!before.contains(listener)) drop_new_connections(listener);
    }
  }

  const std::string& name() const override { return group().name; }
  int rank() const override { return group().rank; }
  int size() const override { return group().size(); }
  int global_rank(int group_rank) const override { return group().members.at(group_rank); }

  Work all_reduce(at::Tensor tensor, ReduceOp op) override {
    RT_CHECK(tensor.is_contiguous(), "{} group: all_reduce needs a contiguous tensor", name());
    return collective("all_reduce", tensor.numel(), [&] {
      std::vector<at::Tensor> tensors{tensor};
      c10d::AllreduceOptions options;
      options.reduceOp = to_c10d(op);
      options.timeout = group().timeout;
      return gloo_->allreduce(tensors, options);
    });
  }

  Work all_gather(at::Tensor shard, at::Tensor whole) override {
    check_all_gather(group(), shard, whole);
    return collective("all_gather", shard.numel(), [&] {
      at::Tensor flat_shard = shard.view({-1});
      at::Tensor flat_whole = whole.view({-1});
      c10d::AllgatherOptions options;
      options.timeout = group().timeout;
      return gloo_->_allgather_base(flat_whole, flat_shard, options);
    });
  }

  Work broadcast(at::Tensor tensor, int root) override {
    RT_CHECK(tensor.is_contiguous(), "{} group: broadcast needs a contiguous tensor", name());
    return collective("broadcast", tensor.numel(), [&] {
      std::vector<at::Tensor> tensors{tensor};
      c10d::BroadcastOptions options;
      options.rootRank = root;
      options.timeout = group().timeout;
      return gloo_->broadcast(tensors, options);
    });
  }

  void barrier() override {
    collective("barrier", 1, [&] {
      c10d::BarrierOptions options;
      options.timeout = group().timeout;
      return gloo_->barrier(options);
    }).wait();
  }

  Work reduce_scatter(at::Tensor whole, at::Tensor shard, ReduceOp op) override {
    check_reduce_scatter(group(), whole, shard);
    auto work = begin("reduce_scatter");
    if (shard.numel() == 0) return {};
    const at::Tensor parts = whole.view({size(), -1});
    std::vector<at::Tensor> slices(size());
    for (int peer = 0; peer < size(); ++peer) {
      slices[peer] = peer == rank() ? parts[peer] : at::empty_like(parts[peer]);
      if (peer != rank()) receive(*work, peer, slices[peer], 0);
    }
    for_each_other([&](int peer) { send(*work, peer, parts[peer], 0); });
    work->then([slices = std::move(slices), shard, op] { reduce_in_order(slices, shard, op); });
    return Work(std::move(work));
  }

  Work all_to_all(at::Tensor in, at::Tensor out) override {
    check_all_to_all(group(), in, out);
    auto work = begin("all_to_all");
    if (in.numel() == 0) return {};
    const at::Tensor from = in.view({size(), -1});
    const at::Tensor to = out.view({size(), -1});
    for_each_other([&](int peer) { receive(*work, peer, to[peer], 0); });
    for_each_other([&](int peer) { send(*work, peer, from[peer], 0); });
    to[rank()].copy_(from[rank()]);
    return Work(std::move(work));
  }

  Work exchange(std::span<const Send> sends, std::span<const Receive> receives) override {
    check_exchange(group(), sends, receives);
    auto work = begin("exchange");
    if (sends.empty() && receives.empty()) return {};
    std::vector<int> count(size(), 0);  // numbers the messages of each pair, so that they match in the order given
    for (const Receive& message : receives) receive(*work, message.peer, message.tensor, count[message.peer]++);
    count.assign(size(), 0);
    for (const Send& message : sends) send(*work, message.peer, message.tensor, count[message.peer]++);
    return Work(std::move(work));
  }

 private:
  const Group& group() const { return channel_->group; }

  std::shared_ptr<GlooWork> begin(const char* operation) {
    operation_ = {operation, ++sequence_};
    if (!channel_->failure.empty()) throw CommError(channel_->failure);  // also where there is nothing to send
    return std::make_shared<GlooWork>(channel_, operation_);
  }

  template <class Start>
  Work collective(const char* operation, std::int64_t elements, Start start) {
    auto work = begin(operation);
    if (elements == 0) return {};
    work->add(guarded(*channel_, operation_, start));
    return Work(std::move(work));
  }

  // All ranks but this one, beginning with the next, so that not all send to rank 0 first.
  template <class Visit>
  void for_each_other(Visit visit) const {
    for (int step = 1; step < size(); ++step) visit((rank() + step) % size());
  }

  void send(GlooWork& work, int peer, const at::Tensor& tensor, int number) {
    if (tensor.numel() == 0) return;
    std::vector<at::Tensor> tensors{tensor};
    work.add(guarded(*channel_, to_peer(peer), [&] { return gloo_->send(tensors, peer, tag(number)); }), peer);
  }

  void receive(GlooWork& work, int peer, const at::Tensor& tensor, int number) {
    if (tensor.numel() == 0) return;
    std::vector<at::Tensor> tensors{tensor};
    work.add(guarded(*channel_, to_peer(peer), [&] { return gloo_->recv(tensors, peer, tag(number)); }), peer);
  }

  CommOperation to_peer(int peer) const { return {operation_.name, operation_.sequence, peer}; }

  // The same on both ends: the operation's number and the message's number in it. It wraps after 2 million
  // operations, long after the earlier ones have ended.
  int tag(int number) const {
    constexpr int kMessages = 1024;
    RT_CHECK_LT(number, kMessages, "messages between one pair of ranks in one operation");
    return static_cast<int>(sequence_ % (1 << 21)) * kMessages + number;
  }

  std::shared_ptr<Channel> channel_;
  C10dGloo gloo_;
  std::int64_t sequence_ = 0;
  CommOperation operation_{"none", 0};
};

}  // namespace

// Gloo writes to its sockets without MSG_NOSIGNAL, so a peer that has just died would end this process by SIGPIPE
// before it could say which rank it waited for. A handler of the user's own stays.
static void ignore_sigpipe() {
  struct sigaction action{};
  if (::sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) ::signal(SIGPIPE, SIG_IGN);
}

std::unique_ptr<Communicator> make_gloo_communicator(Group group, const std::string& key,
                                                     const Rendezvous& rendezvous) {
  ignore_sigpipe();
  return std::make_unique<GlooCommunicator>(std::move(group), key, rendezvous);
}

}  // namespace ringtron

#include "ringtron/comm/process_group/process_group_communicator.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <algorithm>
#include <exception>
#include <numeric>
#include <utility>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"
#include "ringtron/comm/c10d_reduce_op.h"
#include "ringtron/comm/group.h"

namespace ringtron {
namespace {

using C10dBackend = c10::intrusive_ptr<c10d::Backend>;
using C10dWork = c10::intrusive_ptr<c10d::Work>;

// Every exception of the back end becomes the CommError of `operation`.
template <class Step>
auto guarded(const Group& group, const CommOperation& operation, Step step) {
  try {
    return step();
  } catch (const InternalError&) {
    throw;
  } catch (const CommError&) {
    throw;
  } catch (const std::exception& error) {
    throw_comm_error(group, operation, error.what());
  }
}

class ProcessGroupWork final : public Work::State {
 public:
  ProcessGroupWork(std::shared_ptr<const Group> group, CommOperation operation, bool on_host)
      : group_(std::move(group)), operation_(operation), on_host_(on_host) {}

  void add(C10dWork work, int peer) { parts_.emplace_back(std::move(work), peer); }

  void wait() override {
    const auto deadline = SteadyClock::now() + group_->timeout;
    for (auto& [work, peer] : parts_) {
      CommOperation waited = operation_;
      waited.peer = peer;
      guarded(*group_, waited, [&, &work = work] {
        // On a device the stream waits. Given a time, NCCL's would make the host wait; its watchdog has the time.
        if (!on_host_) return work->wait();
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - SteadyClock::now());
        return work->wait(std::max(std::chrono::milliseconds(1), left));
      });
    }
    parts_.clear();
  }

 private:
  std::shared_ptr<const Group> group_;
  CommOperation operation_;
  bool on_host_;
  std::vector<std::pair<C10dWork, int>> parts_;  // and the peer it waits for alone, or -1
};

// The group as messages name it.
Group describe_group(std::string name, const c10d::ProcessGroup& process_group, const C10dBackend& backend) {
  Group group;
  group.name = std::move(name);
  group.rank = process_group.getRank();
  group.members.resize(static_cast<std::size_t>(process_group.getSize()));
  std::iota(group.members.begin(), group.members.end(), 0);
  try {
    const auto options = backend->getBackendOptions();
    group.timeout = options->timeout;
    const auto& ranks = options->global_ranks_in_group;
    if (ranks.size() == group.members.size()) std::copy(ranks.begin(), ranks.end(), group.members.begin());
  } catch (const std::exception&) {  // a back end without options
  }
  return group;
}

class ProcessGroupCommunicator final : public Communicator {
 public:
  ProcessGroupCommunicator(Group group, const c10::intrusive_ptr<c10d::ProcessGroup>& process_group,
                           c10::DeviceType device)
      : group_(std::make_shared<const Group>(std::move(group))), process_group_(process_group), device_(device) {}

  const std::string& name() const override { return group_->name; }
  int rank() const override { return group_->rank; }
  int size() const override { return group_->size(); }
  int global_rank(int group_rank) const override { return group_->members.at(static_cast<std::size_t>(group_rank)); }

  Work all_reduce(at::Tensor tensor, ReduceOp op) override {
    RT_CHECK(tensor.is_contiguous(), "{} group: all_reduce needs a contiguous tensor", name());
    return collective("all_reduce", tensor.numel(), [&](const C10dBackend& backend) {
      std::vector<at::Tensor> tensors{tensor};
      c10d::AllreduceOptions options;
      options.reduceOp = to_c10d(op);
      return backend->allreduce(tensors, options);
    });
  }

  Work all_gather(at::Tensor shard, at::Tensor whole) override {
    check_all_gather(*group_, shard, whole);
    return collective("all_gather", shard.numel(), [&](const C10dBackend& backend) {
      at::Tensor flat_shard = shard.view({-1}), flat_whole = whole.view({-1});
      return backend->_allgather_base(flat_whole, flat_shard);
    });
  }

  Work reduce_scatter(at::Tensor whole, at::Tensor shard, ReduceOp op) override {
    check_reduce_scatter(*group_, whole, shard);
    return collective("reduce_scatter", shard.numel(), [&](const C10dBackend& backend) {
      at::Tensor flat_shard = shard.view({-1}), flat_whole = whole.view({-1});
      c10d::ReduceScatterOptions options;
      options.reduceOp = to_c10d(op);
      return backend->_reduce_scatter_base(flat_shard, flat_whole, options);
    });
  }

  Work all_to_all(at::Tensor in, at::Tensor out) override {
    check_all_to_all(*group_, in, out);
    return collective("all_to_all", in.numel(), [&](const C10dBackend& backend) {
      at::Tensor flat_in = in.view({-1}), flat_out = out.view({-1});
      std::vector<std::int64_t> equal_splits;
      return backend->alltoall_base(flat_out, flat_in, equal_splits, equal_splits);
    });
  }

  Work exchange(std::span<const Send> sends, std::span<const Receive> receives) override {
    check_exchange(*group_, sends, receives);
    const C10dBackend backend = this->backend();
    const bool grouped = backend->supportsCoalescing();
    if (grouped) connect_all();
    const auto work = begin("exchange");
    std::int64_t elements = 0;
    for (const Send& message : sends) elements += message.tensor.numel();
    for (const Receive& message : receives) elements += message.tensor.numel();
    if (elements == 0) return {};
    if (!grouped) {
      one_by_one(*work, backend, sends, receives);
      return Work(work);
    }
    // Grouped: NCCL runs messages one after the other otherwise, and two ranks wait for each other.
    work->add(guarded(*group_, operation_,
                      [&] {
                        backend->startCoalescing();
                        for (const Send& message : sends) send(backend, message, 0);
                        for (const Receive& message : receives) receive(backend, message, 0);
                        return backend->endCoalescing();
                      }),
              -1);
    return Work(work);
  }

  Work broadcast(at::Tensor tensor, int root) override {
    RT_CHECK(tensor.is_contiguous(), "{} group: broadcast needs a contiguous tensor", name());
    return collective("broadcast", tensor.numel(), [&](const C10dBackend& backend) {
      std::vector<at::Tensor> tensors{tensor};
      c10d::BroadcastOptions options;
      options.rootRank = root;
      return backend->broadcast(tensors, options);
    });
  }

  void barrier() override {
    at::Tensor token = at::zeros({1}, at::TensorOptions().device(device_).dtype(at::kFloat));
    all_reduce(token, ReduceOp::sum).wait();
    token.item<float>();  // of a device the host waits too
    connected_ = true;
  }

 private:
  C10dBackend backend() const {
    const c10::intrusive_ptr<c10d::ProcessGroup> process_group = process_group_.lock();
    if (!process_group) throw CommError(fmt::format("{} group: the process group has been destroyed", name()));
    return process_group->getBackend(device_);
  }

  std::shared_ptr<ProcessGroupWork> begin(const char* operation) {
    operation_ = {operation, ++sequence_};
    return std::make_shared<ProcessGroupWork>(group_, operation_, device_ == c10::DeviceType::CPU);
  }

  template <class Start>
  Work collective(const char* operation, std::int64_t elements, Start start) {
    const auto work = begin(operation);
    if (elements == 0) return {};
    const C10dBackend backend = this->backend();
    work->add(guarded(*group_, operation_, [&] { return start(backend); }), -1);
    return Work(work);
  }

  static C10dWork send(const C10dBackend& backend, const Send& message, int tag) {
    std::vector<at::Tensor> tensors{message.tensor};
    return message.tensor.numel() > 0 ? backend->send(tensors, message.peer, tag) : C10dWork();
  }
  static C10dWork receive(const C10dBackend& backend, const Receive& message, int tag) {
    std::vector<at::Tensor> tensors{message.tensor};
    return message.tensor.numel() > 0 ? backend->recv(tensors, message.peer, tag) : C10dWork();
  }

  // NCCL connects a group at its first operation and needs all ranks for that; not all may have a message to exchange.
  void connect_all() {
    if (!connected_) barrier();
  }

  // With tags, which number the messages of each pair so that they match in the order given.
  void one_by_one(ProcessGroupWork& work, const C10dBackend& backend, std::span<const Send> sends,
                  std::span<const Receive> receives) {
    std::vector<int> count(static_cast<std::size_t>(size()), 0);
    const auto add = [&](int peer, auto start) {
      const CommOperation to_peer{operation_.name, operation_.sequence, peer};
      const int number = count[static_cast<std::size_t>(peer)]++;
      if (C10dWork part = guarded(*group_, to_peer, [&] { return start(tag(number)); })) work.add(part, peer);
    };
    for (const Receive& message : receives) {
      add(message.peer, [&](int tag) { return receive(backend, message, tag); });
    }
    std::fill(count.begin(), count.end(), 0);
    for (const Send& message : sends) {
      add(message.peer, [&](int tag) { return send(backend, message, tag); });
    }
  }

  // The same at both ends. The upper half of the tags, so that messages of the group's owner are not taken for ours.
  // It wraps after a million operations, long after the earlier ones have ended.
  int tag(int number) const {
    constexpr int kMessages = 1024;
    RT_CHECK_LT(number, kMessages, "messages between one pair of ranks in one operation");
    return (1 << 30) + static_cast<int>(sequence_ % (1 << 20)) * kMessages + number;
  }

  std::shared_ptr<const Group> group_;
  c10::weak_intrusive_ptr<c10d::ProcessGroup> process_group_;
  c10::DeviceType device_;
  bool connected_ = false;
  std::int64_t sequence_ = 0;
  CommOperation operation_{"none", 0};
};

}  // namespace

std::unique_ptr<Communicator> make_process_group_communicator(std::string name,
                                                              const c10::intrusive_ptr<c10d::ProcessGroup>& group,
                                                              c10::DeviceType device) {
  const std::vector<c10::Device> devices = group->getDeviceTypes();
  if (std::none_of(devices.begin(), devices.end(), [&](const c10::Device& one) { return one.type() == device; })) {
    std::vector<std::string> types;
    for (const c10::Device& one : devices) types.push_back(c10::DeviceTypeName(one.type(), /*lower_case=*/true));
    throw ConfigError(
        fmt::format("process group {} communicates for tensors on {}, got tensors on {}; a group made with "
                    "backend=\"cpu:gloo,cuda:nccl\" takes both",
                    name, fmt::join(types, ", "), c10::DeviceTypeName(device, /*lower_case=*/true)));
  }
  Group described = describe_group(std::move(name), *group, group->getBackend(device));
  return std::make_unique<ProcessGroupCommunicator>(std::move(described), group, device);
}

}  // namespace ringtron

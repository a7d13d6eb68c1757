// A process group of torch.distributed as a Communicator: every operation, and what becomes of it without the group.
#include "ringtron/comm/process_group/process_group_communicator.h"

#include <ATen/ATen.h>

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "ringtron/base/error.h"
#include "ringtron/comm/rendezvous/rendezvous_store.h"
#include "tests/support/multi_rank.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using ProcessGroup = c10::intrusive_ptr<c10d::ProcessGroup>;

// As torch.distributed.init_process_group("gloo") makes it, with a time-out of some seconds.
ProcessGroup gloo_group(testing::RankContext& ranks) {
  const auto store = store_with_prefix(ranks.rendezvous(), "process_group");
  auto options = c10d::ProcessGroupGloo::Options::create(std::chrono::seconds(20));
  options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
  const auto gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(store, ranks.rank(), ranks.size(), options);
  auto group = c10::make_intrusive<c10d::ProcessGroup>(store, ranks.rank(), ranks.size());
  group->setBackend(c10::DeviceType::CPU, c10d::ProcessGroup::BackendType::GLOO, gloo);
  return group;
}

at::Tensor contribution(int rank, std::int64_t length) { return (at::arange(length) % 5 + rank).to(at::kDouble); }

DIST_TEST(ProcessGroupCommunicator, Collectives, 2, 3) {
  const ProcessGroup group = gloo_group(ranks);
  const auto comm = make_process_group_communicator("torch's", group, c10::DeviceType::CPU);
  const int size = ranks.size();
  EXPECT_EQ(comm->rank(), ranks.rank());
  EXPECT_EQ(comm->size(), size);
  for (const std::int64_t length : {0, 1, 7}) {
    at::Tensor sum = at::zeros({size * length}, at::kDouble);
    std::vector<at::Tensor> parts;
    for (int rank = 0; rank < size; ++rank) {
      sum += contribution(rank, size * length);
      parts.push_back(contribution(rank, length));
    }
    at::Tensor reduced = contribution(ranks.rank(), size * length);
    comm->all_reduce(reduced).wait();
    EXPECT_TENSOR_EQUAL(reduced, sum);
    at::Tensor whole = at::zeros({size * length}, at::kDouble), shard = at::zeros({length}, at::kDouble);
    comm->all_gather(contribution(ranks.rank(), length), whole).wait();
    EXPECT_TENSOR_EQUAL(whole, at::cat(parts));
    comm->reduce_scatter(contribution(ranks.rank(), size * length), shard).wait();
    EXPECT_TENSOR_EQUAL(shard, sum.narrow(0, ranks.rank() * length, length));
    at::Tensor crossed = at::zeros({size * length}, at::kDouble);
    comm->all_to_all(contribution(ranks.rank(), length).repeat({size}), crossed).wait();
    EXPECT_TENSOR_EQUAL(crossed, at::cat(parts));
    at::Tensor sent = contribution(ranks.rank(), length);
    comm->broadcast(sent, size - 1).wait();
    EXPECT_TENSOR_EQUAL(sent, contribution(size - 1, length));
  }
  EXPECT_NO_THROW(comm->barrier());
}

// Several messages of each pair, one without elements, and two steps under way at once.
DIST_TEST(ProcessGroupCommunicator, MessagesMatchInOrder, 2, 3) {
  const ProcessGroup group = gloo_group(ranks);
  const auto comm = make_process_group_communicator("torch's", group, c10::DeviceType::CPU);
  const int next = (ranks.rank() + 1) % ranks.size(), previous = (ranks.rank() + ranks.size() - 1) % ranks.size();
  const std::int64_t lengths[] = {4, 0, 4, 1};
  std::vector<Receive> receives[2];
  std::vector<Work> works;
  for (int step = 0; step < 2; ++step) {
    std::vector<Send> sends;
    for (int k = 0; k < 4; ++k) {
      sends.push_back({next, contribution(100 * ranks.rank() + 10 * step + k, lengths[k])});
      receives[step].push_back({previous, at::full({lengths[k]}, -1, at::kDouble)});
    }
    works.push_back(comm->exchange(sends, receives[step]));
    works.push_back(comm->exchange({}, {}));
  }
  for (auto work = works.rbegin(); work != works.rend(); ++work) work->wait();
  for (int step = 0; step < 2; ++step) {
    for (int k = 0; k < 4; ++k) {
      EXPECT_TENSOR_EQUAL(receives[step][static_cast<std::size_t>(k)].tensor,
                          contribution(100 * previous + 10 * step + k, lengths[k]));
    }
  }
}

DIST_TEST(ProcessGroupCommunicator, GroupThatIsGoneOrHasNoBackEnd, 2) {
  ProcessGroup group = gloo_group(ranks);
  const auto comm = make_process_group_communicator("torch's", group, c10::DeviceType::CPU);
  EXPECT_THROW(make_process_group_communicator("torch's", group, c10::DeviceType::CUDA), ConfigError);
  ranks.meet();
  group.reset();
  at::Tensor x = at::zeros({1});
  EXPECT_THROW(comm->all_reduce(x), CommError);
}

}  // namespace
}  // namespace ringtron

// Messages between GPUs, by copy engines and by NCCL: the same contents, whoever is late, and an error when a peer
// dies.
#include <ATen/ATen.h>
#include <ATen/cuda/Sleep.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gmock/gmock.h>

#include <unistd.h>

#include <csignal>
#include <numeric>

#include "ringtron/base/error.h"
#include "ringtron/comm/exchange_collectives.h"
#include "ringtron/comm/make_communicator.h"
#include "tests/support/multi_rank.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr std::int64_t kLateness = 5'000'000;                          // cycles: some 3 ms
const std::int64_t kLengths[] = {1, 7, 4096, 1'000'003, 32 << 20, 0};  // bytes

std::unique_ptr<Communicator> gpu_group(testing::RankContext& ranks, bool by_copies) {
  c10::cuda::set_device(static_cast<c10::DeviceIndex>(ranks.rank()));
  ranks.options().peer_copies = by_copies;
  std::vector<int> all(static_cast<std::size_t>(ranks.size()));
  std::iota(all.begin(), all.end(), 0);
  return make_communicator(Backend::nccl, "world", all, ranks.rendezvous());
}

at::Tensor message(int from, int to, int round, std::int64_t length) {
  const auto options = at::TensorOptions().device(at::kCUDA).dtype(at::kByte);
  return at::arange(length, options.dtype(at::kLong)).add(13 * from + 31 * to + 7 * round).remainder(251).to(at::kByte);
}

// Ring messages of all lengths, as parts of larger tensors. Ranks are late by turns; what is sent is made late and
// overwritten at once, and where it arrives is read until late.
void exchange_in_a_ring(Communicator& group, int round, bool compares = true) {
  const int rank = group.rank(), next = (rank + 1) % group.size(), last = (rank + group.size() - 1) % group.size();
  std::vector<Send> sends;
  std::vector<Receive> receives;
  std::vector<at::Tensor> before;
  for (const std::int64_t length : kLengths) {
    const auto options = at::TensorOptions().device(at::kCUDA).dtype(at::kByte);
    const at::Tensor out = at::full({length + 5}, 255, options), in = at::full({length + 3}, 254, options);
    if (round % group.size() == rank) at::cuda::sleep(kLateness);
    out.narrow(0, 2, length).copy_(message(rank, next, round, length));
    before.push_back(in.clone());
    sends.push_back({next, out.narrow(0, 2, length)});
    receives.push_back({last, in.narrow(0, 1, length)});
  }
  group.exchange(sends, receives).wait();
  for (const Send& send : sends) send.tensor.fill_(253);
  if (!compares) return;
  for (std::size_t i = 0; i < receives.size(); ++i) {
    const at::Tensor& got = receives[i].tensor;
    EXPECT_TRUE(at::equal(got, message(last, rank, round, got.size(0))))
        << "round " << round << ", " << got.size(0) << " bytes";
    EXPECT_TRUE(before[i].eq(254).all().item<bool>()) << "it arrived before the stream was ready";
  }
}

void exchange_rounds(testing::RankContext& ranks, bool by_copies) {
  if (c10::cuda::device_count() < ranks.size()) GTEST_SKIP() << "fewer GPUs than ranks";
  const auto group = gpu_group(ranks, by_copies);
  for (int round = 0; round < 12; ++round) exchange_in_a_ring(*group, round);
  EXPECT_EQ(group->exchanges_without_kernels(), by_copies) << "without NVLink NCCL carries messages; stderr says why";
}

DIST_TEST(ExchangeGpu, ByCopies, 2, 4) { exchange_rounds(ranks, true); }
DIST_TEST(ExchangeGpu, ByNccl, 2, 4) { exchange_rounds(ranks, false); }

// Each rank's share of element i in a round: a whole number.
at::Tensor share(int rank, int round, std::int64_t length) {
  const auto options = at::TensorOptions().device(at::kCUDA).dtype(at::kLong);
  return at::arange(length, options).mul(rank + 2).add(5 * round).remainder(101).to(at::kFloat);
}

// Shares are made late on one rank by turns and overwritten when the result has been waited for.
void sum_and_gather(testing::RankContext& ranks, bool all, std::int64_t most_staged) {
  if (c10::cuda::device_count() < ranks.size()) GTEST_SKIP() << "fewer GPUs than ranks";
  const auto group = gpu_group(ranks, true);
  const auto device = at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(ranks.rank()));
  ASSERT_TRUE(uses_copy_engines(*group, device));
  ExchangeCollectives collectives(*group, device, most_staged);
  const std::int64_t slice = 1'000'003, length = slice * ranks.size();
  const at::Tensor whole = at::zeros({length}, at::TensorOptions().device(device));
  for (int round = 0; round < 12; ++round) {
    if (round % ranks.size() == ranks.rank()) at::cuda::sleep(kLateness);
    whole.copy_(share(ranks.rank(), round, length));
    at::Tensor expected = at::zeros_like(whole);
    for (int rank = 0; rank < ranks.size(); ++rank) expected += share(rank, round, length);
    if (all) {
      collectives.all_reduce(whole).wait();
    } else {
      collectives.reduce_scatter(whole).wait();
      EXPECT_EQ(whole.equal(expected), false);  // the others' slices are shares still
      collectives.all_gather(whole).wait();
    }
    EXPECT_TRUE(whole.equal(expected)) << "round " << round;
  }
}

DIST_TEST(ExchangeGpu, AllReduceByCopies, 2, 4) { sum_and_gather(ranks, true, 1 << 24); }
DIST_TEST(ExchangeGpu, AllReduceByCopiesInParts, 2, 4) { sum_and_gather(ranks, true, 300'000); }
DIST_TEST(ExchangeGpu, ReduceScatterAndGatherByCopies, 2, 4) { sum_and_gather(ranks, false, 300'000); }

// One message from each rank to each other rank, and a rank that has none.
DIST_TEST(ExchangeGpu, ToAllButOne, 4) {
  if (c10::cuda::device_count() < ranks.size()) GTEST_SKIP() << "fewer GPUs than ranks";
  const auto group = gpu_group(ranks, true);
  for (int round = 0; round < 8; ++round) {
    const int idle = round % ranks.size();
    std::vector<Send> sends;
    std::vector<Receive> receives;
    for (int peer = 0; peer < ranks.size(); ++peer) {
      if (peer == ranks.rank() || peer == idle || ranks.rank() == idle) continue;
      sends.push_back({peer, message(ranks.rank(), peer, round, 100'000)});
      receives.push_back({peer, at::zeros_like(sends.back().tensor)});
    }
    group->exchange(sends, receives).wait();
    EXPECT_EQ(receives.size(), ranks.rank() == idle ? 0u : 2u);
    for (const Receive& receive : receives) {
      EXPECT_TRUE(at::equal(receive.tensor, message(receive.peer, ranks.rank(), round, 100'000)));
    }
  }
}

// Its last message is on its way, and its peer's stream waits for more.
void die_in_an_exchange(testing::RankContext& ranks, bool by_copies) {
  if (c10::cuda::device_count() < ranks.size()) GTEST_SKIP() << "fewer GPUs than ranks";
  const auto group = gpu_group(ranks, by_copies);
  exchange_in_a_ring(*group, 0);
  ranks.meet();
  if (ranks.rank() == 1) {
    ranks.announce_death();
    ::kill(::getpid(), SIGKILL);
  }
  const auto go_on = [&] {
    // What an operation under way leaves behind when a peer dies is of no use.
    for (int round = 0; round < 1000; ++round) exchange_in_a_ring(*group, round, /*compares=*/false);
  };
  EXPECT_THAT(go_on, ThrowsMessage<CommError>(
                         AllOf(HasSubstr("world group"), HasSubstr("exchange"), HasSubstr("rank 1 died"))));
}

DIST_TEST(ExchangeGpu, ADeathIsToldByCopies, 2) { die_in_an_exchange(ranks, true); }
DIST_TEST(ExchangeGpu, ADeathIsToldByNccl, 2) { die_in_an_exchange(ranks, false); }

}  // namespace
}  // namespace ringtron

// Sequence for heads and back: every element lands where it belongs, for any rows and heads. Ranks are
// threads.
#include "ringtron/context_parallel/run/ulysses_all_to_all.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <utility>
#include <vector>

#include "ringtron/comm/decorators/counting_communicator.h"
#include "ringtron/tools/faults/silent_communicator.h"
#include "tests/context_parallel/attention_case.h"
#include "tests/context_parallel/thread_ring.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using testing::shard;

constexpr std::int64_t kBatch = 2, kHeadSize = 3;

struct Sizes {
  int ranks, head_ranks;
  std::int64_t heads, groups, length;
};

std::string to_string(const Sizes& z) {
  return fmt::format("A {} of {} ranks, n {} g {}, length {}", z.head_ranks, z.ranks, z.heads, z.groups, z.length);
}

// Heads and rows that divide and that do not, ranks without heads, ranks without rows.
std::vector<Sizes> all_sizes() {
  std::vector<Sizes> sizes;
  const std::pair<int, int> ranks[] = {{1, 1}, {2, 2}, {3, 3}, {4, 2}, {4, 4}, {6, 3}, {8, 8}};
  const std::pair<int, int> heads[] = {{8, 8}, {7, 7}, {7, 1}, {8, 2}, {6, 3}, {1, 1}};
  for (const auto& [count, head_ranks] : ranks) {
    for (const auto& [n, g] : heads) {
      for (const std::int64_t length : {1, 5, 16, 21}) sizes.push_back({count, head_ranks, n, g, length});
    }
  }
  return sizes;
}

// A rank's view of one exchange.
struct Side {
  Communicator& comm;
  const SequenceLayout& layout;
  const SequenceLayout& merged;
  const UlyssesAllToAll& exchange;
  std::vector<HeadShare> shares;

  int member() const { return comm.rank() % static_cast<int>(shares.size()); }
  int group() const { return comm.rank() / static_cast<int>(shares.size()); }
  const HeadShare& mine() const { return shares[static_cast<std::size_t>(member())]; }
  at::Tensor rows_before(const at::Tensor& whole) const { return shard(whole, layout, comm.rank()); }
  at::Tensor rows_after(const at::Tensor& whole) const { return shard(whole, merged, group()); }
};

void run(const Sizes& z, const SequenceLayout& layout, const std::function<void(Side&)>& body) {
  const SequenceLayout merged = layout.merged(z.head_ranks);
  testing::ThreadRing(z.ranks).run([&](Communicator& comm) {
    const std::vector<HeadShare> shares = share_heads(z.heads, z.groups, z.head_ranks);
    const UlyssesAllToAll exchange(comm, layout, merged, shares);
    Side side{comm, layout, merged, exchange, shares};
    body(side);
  });
}

at::Tensor heads_of(const at::Tensor& x, const PositionRange& heads) {
  return x.narrow(2, heads.begin, heads.length()).contiguous();
}

TEST(UlyssesAllToAll, RowsOfAllMembersForMyHeads) {
  for (const Sizes& z : all_sizes()) {
    SCOPED_TRACE(to_string(z));
    const at::Tensor q = testing::random_tensor({z.length, kBatch, z.heads, kHeadSize}, 1);
    const at::Tensor k = testing::random_tensor({z.length, kBatch, z.groups, kHeadSize + 1}, 2);
    for (const SequenceLayout& layout : {zigzag_layout(z.length, z.ranks), contiguous_layout(z.length, z.ranks)}) {
      run(z, layout, [&](Side& side) {
        const std::vector<at::Tensor> got = side.exchange.to_heads(
            {{side.rows_before(q), HeadKind::query}, {side.rows_before(k), HeadKind::key_value}});
        ASSERT_EQ(got.size(), 2u);
        EXPECT_TENSOR_EQUAL(got[0], heads_of(side.rows_after(q), side.mine().q));
        EXPECT_TENSOR_EQUAL(got[1], heads_of(side.rows_after(k), side.mine().kv));
      });
    }
  }
}

// Every share of a key/value head brings its own numbers: here the head's times (1 + member), which add up.
TEST(UlyssesAllToAll, BackToRowsAddsUpSharedHeads) {
  for (const Sizes& z : all_sizes()) {
    SCOPED_TRACE(to_string(z));
    const at::Tensor q = testing::random_tensor({z.length, kBatch, z.heads, kHeadSize}, 1);
    const at::Tensor dk = testing::random_tensor({z.length, kBatch, z.groups, kHeadSize}, 2);
    at::Tensor weights = at::zeros({z.groups}, at::kDouble);
    const std::vector<HeadShare> shares = share_heads(z.heads, z.groups, z.head_ranks);
    for (std::size_t member = 0; member < shares.size(); ++member) {
      weights.narrow(0, shares[member].kv.begin, shares[member].kv.length()).add_(1.0 + static_cast<double>(member));
    }
    const at::Tensor expected = dk * weights.view({1, 1, -1, 1});
    run(z, zigzag_layout(z.length, z.ranks), [&](Side& side) {
      const at::Tensor my_dk = heads_of(side.rows_after(dk), side.mine().kv) * (1.0 + side.member());
      const std::vector<at::Tensor> got{at::zeros_like(side.rows_before(q)), at::zeros_like(side.rows_before(dk))};
      side.exchange.to_sequence(
          {{heads_of(side.rows_after(q), side.mine().q), HeadKind::query}, {my_dk, HeadKind::key_value}}, got);
      EXPECT_TENSOR_EQUAL(got[0], side.rows_before(q));
      EXPECT_TENSOR_NEAR(got[1], side.rows_before(expected), 1e-15);
    });
  }
}

// Every foreign head of every own row is sent once.
TEST(UlyssesAllToAll, SendsItsBytes) {
  const Sizes z{4, 4, 7, 1, 21};
  const at::Tensor k = testing::random_tensor({z.length, kBatch, z.groups, kHeadSize}, 2);
  const SequenceLayout layout = zigzag_layout(z.length, z.ranks), merged = layout.merged(z.head_ranks);
  testing::ThreadRing(z.ranks).run([&](Communicator& comm) {
    CountingCommunicator counting(comm);
    const std::vector<HeadShare> shares = share_heads(z.heads, z.groups, z.head_ranks);
    UlyssesAllToAll(counting, layout, merged, shares).to_heads({{shard(k, layout, comm.rank()), HeadKind::key_value}});
    EXPECT_EQ(counting.counts().exchange.bytes, 3 * layout.local_length(comm.rank()) * kBatch * kHeadSize * 8);
  });
}

// Negative control: an exchange that sends nothing is seen by the comparison and by the count.
TEST(AllToAllControl, SilentExchange) {
  const Sizes z{2, 2, 4, 4, 16};
  const at::Tensor q = testing::random_tensor({z.length, kBatch, z.heads, kHeadSize}, 1);
  const SequenceLayout layout = zigzag_layout(z.length, z.ranks), merged = layout.merged(z.head_ranks);
  testing::ThreadRing(z.ranks).run([&](Communicator& comm) {
    CountingCommunicator counting(comm);
    SilentCommunicator silent(counting);
    const std::vector<HeadShare> shares = share_heads(z.heads, z.groups, z.head_ranks);
    const at::Tensor got = UlyssesAllToAll(silent, layout, merged, shares)
                               .to_heads({{shard(q, layout, comm.rank()), HeadKind::query}})
                               .at(0);
    EXPECT_FALSE(testing::tensor_near(got, heads_of(q, shares[static_cast<std::size_t>(comm.rank())].q), 1e-6));
    EXPECT_EQ(counting.counts().exchange.bytes, 0);
  });
}

}  // namespace
}  // namespace ringtron

// The ring against the reference, all ranks as threads of this process.
#include <gtest/gtest.h>

#include "ringtron/comm/local_communicator.h"
#include "tests/context_parallel/attention_case.h"
#include "tests/context_parallel/thread_ring.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using testing::AttentionCase;
using testing::Results;

// Results of all ranks, by rank.
std::vector<Results> run_ring(const AttentionCase& c, const SequenceLayout& layout,
                              at::ScalarType type = at::kDouble) {
  std::vector<Results> all(static_cast<std::size_t>(layout.ranks()));
  testing::ThreadRing(layout.ranks()).run([&](Communicator& comm) {
    all[comm.rank()] = testing::ring_results(c, layout, comm, type);
  });
  return all;
}

void expect_parity(const std::vector<Results>& got, const Results& expected, const SequenceLayout& layout,
                   double tolerance) {
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    for (int i = 0; i < 4; ++i) {
      EXPECT_TENSOR_NEAR(got[rank][i].to(at::kDouble), testing::shard(expected[i], layout, rank), tolerance)
          << testing::kResultNames[i] << " of rank " << rank << " of " << layout.ranks();
    }
  }
}

TEST(P2pAttention, ZigzagMatchesReference) {
  for (const testing::CaseSizes& sizes : testing::parity_cases()) {
    const AttentionCase c = testing::make_case(sizes);
    const Results expected = testing::reference_results(c);
    for (const int ranks : {1, 2, 3, 4, 8}) {
      const SequenceLayout layout = zigzag_layout(sizes.sequence, ranks);
      expect_parity(run_ring(c, layout), expected, layout, testing::kFp64ReorderTolerance);
    }
  }
}

TEST(P2pAttention, ContiguousMatchesReference) {
  for (const bool causal : {true, false}) {
    const AttentionCase c = testing::make_case({.causal = causal, .dropout = 0.2});
    const Results expected = testing::reference_results(c);
    for (const int ranks : {2, 3}) {
      const SequenceLayout layout = contiguous_layout(48, ranks);
      expect_parity(run_ring(c, layout), expected, layout, testing::kFp64ReorderTolerance);
    }
  }
}

TEST(P2pAttention, ShortestSequence) {
  const AttentionCase c = testing::make_case({.sequence = 8});
  const SequenceLayout layout = zigzag_layout(8, 4);
  expect_parity(run_ring(c, layout), testing::reference_results(c), layout, testing::kFp64ReorderTolerance);
}

// fp32: 24 bits in inputs and sums; the ring adds some roundings to a block's own.
TEST(P2pAttention, Fp32StaysNearFp64) {
  const AttentionCase c = testing::make_case({});
  const SequenceLayout layout = zigzag_layout(48, 4);
  expect_parity(run_ring(c, layout, at::kFloat), testing::reference_results(c), layout, 5e-6);
}

// bf16: inputs rounded to 8 bits are part of the error (2^-9 each, of q, k, v and d_out); sums are in fp32,
// so the ring's error must not grow beyond that of one rank.
TEST(P2pAttention, Bf16ErrorDoesNotGrowWithTheRing) {
  const AttentionCase c = testing::make_case({});
  const Results expected = testing::reference_results(c);
  for (const int ranks : {1, 2, 8}) {
    const SequenceLayout layout = zigzag_layout(48, ranks);
    expect_parity(run_ring(c, layout, at::kBFloat16), expected, layout, 0.03);
  }
}

TEST(P2pAttention, SameBitsEveryTime) {
  for (const at::ScalarType type : {at::kDouble, at::kBFloat16}) {
    const AttentionCase c = testing::make_case({.dropout = type == at::kDouble ? 0.2 : 0.0});
    const SequenceLayout layout = zigzag_layout(48, 4);
    const std::vector<Results> first = run_ring(c, layout, type);
    for (int repeat = 0; repeat < 5; ++repeat) {
      const std::vector<Results> again = run_ring(c, layout, type);
      for (int rank = 0; rank < 4; ++rank) {
        for (int i = 0; i < 4; ++i) EXPECT_TENSOR_EQUAL(again[rank][i], first[rank][i]);
      }
    }
  }
}

TEST(P2pAttention, BackwardTwiceGivesTheSame) {
  const AttentionCase c = testing::make_case({});
  const SequenceLayout layout = zigzag_layout(48, 4);
  testing::ThreadRing(4).run([&](Communicator& comm) {
    const auto attention = make_cp_attention(comm, layout);
    const auto mine = [&](const at::Tensor& x) { return testing::shard(x, layout, comm.rank()); };
    at::Tensor q = mine(c.q).set_requires_grad(true);
    const at::Tensor out = attention->forward(q, mine(c.k), mine(c.v), c.call);
    out.backward(mine(c.d_out), /*retain_graph=*/true);
    const at::Tensor once = q.grad().clone();
    out.backward(mine(c.d_out));
    EXPECT_TENSOR_EQUAL(q.grad(), once * 2);
  });
}

// Negative controls: the comparison above must see each of these.
bool same_as_reference(const std::vector<Results>& got, const Results& expected,
                       const SequenceLayout& layout) {
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    for (int i = 0; i < 4; ++i) {
      if (!testing::tensor_near(got[rank][i], testing::shard(expected[i], layout, rank), 1e-6)) return false;
    }
  }
  return true;
}

TEST(P2pAttentionControl, TwoChunksSwapped) {
  AttentionCase c = testing::make_case({});
  const Results expected = testing::reference_results(c);
  const SequenceLayout layout = zigzag_layout(48, 4);
  ASSERT_TRUE(same_as_reference(run_ring(c, layout), expected, layout));
  // Chunks 1 and 5 of the keys change places.
  const at::Tensor first = c.k.narrow(0, 6, 6).clone();
  c.k.narrow(0, 6, 6).copy_(c.k.narrow(0, 30, 6));
  c.k.narrow(0, 30, 6).copy_(first);
  EXPECT_FALSE(same_as_reference(run_ring(c, layout), expected, layout));
}

TEST(P2pAttentionControl, AnotherDropoutKey) {
  AttentionCase c = testing::make_case({.dropout = 0.2});
  const Results expected = testing::reference_results(c);
  const SequenceLayout layout = zigzag_layout(48, 2);
  ASSERT_TRUE(same_as_reference(run_ring(c, layout), expected, layout));
  ++c.call.dropout->key;
  EXPECT_FALSE(same_as_reference(run_ring(c, layout), expected, layout));
}

TEST(P2pAttention, RefusesALayoutOfAnotherSize) {
  LocalCommunicator one("context-parallel", 0);
  EXPECT_ANY_THROW(make_cp_attention(one, zigzag_layout(48, 2)));
}

}  // namespace
}  // namespace ringtron

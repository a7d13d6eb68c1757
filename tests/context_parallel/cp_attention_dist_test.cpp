// Context-parallel attention against the reference, each rank a process, over Gloo; and what it sends.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"
#include "ringtron/comm/decorators/counting_communicator.h"
#include "tests/context_parallel/attention_case.h"
#include "tests/support/multi_rank.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using testing::AttentionCase;
using testing::CaseSizes;
using ::testing::HasSubstr;
using testing::Results;
using ::testing::ThrowsMessage;

int head_ranks(int ranks) { return ranks % 2 == 0 ? 2 : ranks; }

// All ranks' shares of the sink's gradient, added up.
void add_shares(Results& results, Communicator& comm) {
  if (results.size() > testing::kSinkResult) comm.all_reduce(results[testing::kSinkResult]).wait();
}

void expect_parity(Communicator& comm, const CaseSizes& sizes) {
  const SequenceLayout layout = testing::layout_of(sizes, comm.size());
  const AttentionCase c = testing::make_case(sizes);
  const Results expected = testing::reference_results(c);
  Results got = testing::ring_results(c, layout, comm);
  add_shares(got, comm);
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const bool is_share = i == testing::kSinkResult;
    EXPECT_TENSOR_NEAR(got[i], is_share ? expected[i] : testing::shard(expected[i], layout, comm.rank()),
                       testing::kFp64ReorderTolerance)
        << testing::kResultNames[i] << " over " << to_text(sizes.transport);
  }
}

DIST_TEST(CpAttentionProcesses, MatchesReference, 1, 2, 3, 4) {
  for (const CpTransport transport : cp_transports()) {
    for (const auto& cases : {testing::parity_cases(), testing::masked_cases()}) {
      for (const CaseSizes& sizes : testing::over(transport, cases, head_ranks(ranks.size()))) {
        expect_parity(ranks.world(), sizes);
      }
    }
  }
}

DIST_TEST(CpAttentionProcesses, ShortestSequences, 4) {
  for (const CpTransport transport : cp_transports()) {
    for (const CaseSizes& sizes : testing::over(transport, {{.sequence = 1}, {.sequence = 3}, {.sequence = 7}}, 2)) {
      expect_parity(ranks.world(), sizes);
    }
  }
}

DIST_TEST(CpAttentionProcesses, SameBitsEveryTime, 4) {
  const SequenceLayout layout = zigzag_layout(48, ranks.size());
  for (const CpTransport transport : cp_transports()) {
    const AttentionCase c = testing::make_case({.transport = transport, .hierarchical_a = 2});
    const Results first = testing::ring_results(c, layout, ranks.world(), at::kFloat);
    for (int repeat = 0; repeat < 3; ++repeat) {
      const Results again = testing::ring_results(c, layout, ranks.world(), at::kFloat);
      for (std::size_t i = 0; i < 4; ++i) EXPECT_TENSOR_EQUAL(again[i], first[i]);
    }
  }
}

// What this rank sends for a forward and a backward of one layer in bf16, once the ranks have agreed on the
// plan.
std::int64_t bytes_of_layer(Communicator& comm, const CaseSizes& sizes) {
  const SequenceLayout layout = testing::layout_of(sizes, comm.size());
  const AttentionCase c = testing::make_case(sizes);
  CountingCommunicator counting(comm);
  const auto attention = make_cp_attention(counting, layout, c.options);
  testing::results_of_rank(*attention, c, layout, comm.rank(), at::kBFloat16);
  counting.reset();
  testing::results_of_rank(*attention, c, layout, comm.rank(), at::kBFloat16);
  EXPECT_EQ(counting.counts().total_bytes(), counting.counts().exchange.bytes);
  return counting.counts().exchange.bytes;
}

DIST_TEST(CpAttentionProcesses, SendsTheBytesOfTheClosedForm, 1, 2, 4) {
  for (const CpTransport transport : cp_transports()) {
    for (const bool causal : {true, false}) {
      const CaseSizes sizes{.batch = 3,
                            .heads = 8,
                            .groups = 4,
                            .causal = causal,
                            .transport = transport,
                            .hierarchical_a = head_ranks(ranks.size())};
      const AttentionShape shape{sizes.batch, sizes.heads, sizes.groups, sizes.head_size, sizes.head_size, 2, 4};
      const TransportBytes expected = closed_form_bytes(
          ranks.size(), head_ranks_of(transport, ranks.size(), sizes.hierarchical_a), sizes.sequence, shape);
      EXPECT_EQ(bytes_of_layer(ranks.world(), sizes), expected.forward + expected.backward) << to_text(transport);
    }
  }
}

// A window moves only the keys before the first one of a shard: twice the sequence sends the same, twice the
// window twice as much.
DIST_TEST(CpAttentionProcesses, BytesOfAWindowAreThoseOfTheWindow, 2, 4) {
  for (const CpLayout layout : {CpLayout::contiguous, CpLayout::zigzag}) {
    const auto bytes = [&](std::int64_t sequence, std::int64_t left) {
      return bytes_of_layer(ranks.world(), {.sequence = sequence, .window = {.left = left}, .layout = layout});
    };
    const std::int64_t one = bytes(256, 8);
    EXPECT_EQ(bytes(512, 8), one) << word_of(layout);
    EXPECT_EQ(bytes(256, 16), 2 * one) << word_of(layout);
    at::Tensor sum = at::full({1}, one, at::kLong);
    ranks.world().all_reduce(sum).wait();
    EXPECT_GT(sum.item<std::int64_t>(), 0) << word_of(layout);
  }
}

std::uint64_t hash_of(const CaseSizes& sizes, int ranks) {
  return plan_hash(sizes.transport, sizes.hierarchical_a, {testing::layout_of(sizes, ranks), testing::masks_of(sizes)});
}

// Rank 1 is about to do another thing than the others, which would end in wrong numbers or a hang, so it is
// found first.
void expect_difference_is_found(Communicator& comm, const CaseSizes& of_rank_1, const CaseSizes& of_others) {
  const CaseSizes& mine = comm.rank() == 1 ? of_rank_1 : of_others;
  CountingCommunicator counting(comm);
  EXPECT_THAT(
      [&] { testing::ring_results(testing::make_case(mine), testing::layout_of(mine, comm.size()), counting); },
      ThrowsMessage<CommError>(AllOf(HasSubstr("world group"), HasSubstr(hex64(hash_of(of_rank_1, comm.size()))),
                                     HasSubstr(hex64(hash_of(of_others, comm.size()))))))
      << to_text(of_others.transport);
  EXPECT_LT(counting.counts().total_bytes(), 160) << "more than a row of keys was sent before";
}

DIST_TEST(CpAttentionProcesses, ARankWithAnotherPlanIsFound, 2, 4) {
  for (const CpTransport transport : cp_transports()) {
    expect_difference_is_found(ranks.world(), {.documents = {{21}, {}}, .transport = transport, .hierarchical_a = 2},
                               {.documents = {{20}, {}}, .transport = transport, .hierarchical_a = 2});
  }
  expect_difference_is_found(ranks.world(), {.window = {.left = 8}}, {.window = {.left = 9}});
  expect_difference_is_found(ranks.world(), {.causal = false}, {});
  expect_difference_is_found(ranks.world(), {.transport = CpTransport::all_gather}, {});
  expect_difference_is_found(ranks.world(), {.layout = CpLayout::contiguous}, {});
}

// Negative control: rank 1 holds other rows of keys than the layout says; some rank must see it.
DIST_TEST(CpAttentionProcessesControl, TwoRowsSwapped, 2, 4) {
  const SequenceLayout layout = zigzag_layout(48, ranks.size());
  for (const CpTransport transport : cp_transports()) {
    AttentionCase c = testing::make_case({.transport = transport, .hierarchical_a = 2});
    const Results expected = testing::reference_results(c);
    if (ranks.rank() == 1) {
      const at::Tensor first = c.k[0].clone();
      const std::int64_t row = layout.of(1).front().begin;
      c.k[0].copy_(c.k[row]);
      c.k[row].copy_(first);
    }
    const Results got = testing::ring_results(c, layout, ranks.world());
    at::Tensor wrong = at::zeros({1});
    for (std::size_t i = 0; i < 4; ++i) {
      if (!testing::tensor_near(got[i], testing::shard(expected[i], layout, ranks.rank()), 1e-6)) wrong.fill_(1);
    }
    ranks.world().all_reduce(wrong).wait();
    EXPECT_GE(wrong.item<float>(), 1.0f) << to_text(transport);
  }
}

}  // namespace
}  // namespace ringtron

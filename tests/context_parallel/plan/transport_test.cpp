#include "ringtron/context_parallel/plan/transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using Masks = std::vector<AttentionMask>;

TEST(Transport, HasTheWordsOfTheFlag) {
  EXPECT_EQ(transport_of("p2p"), CpTransport::p2p);
  EXPECT_EQ(transport_of("all_gather"), CpTransport::all_gather);
  EXPECT_EQ(transport_of("allgather"), CpTransport::all_gather);
  EXPECT_EQ(transport_of("a2a"), CpTransport::a2a);
  EXPECT_EQ(transport_of("a2a+p2p"), CpTransport::hierarchical);
  for (const CpTransport transport : cp_transports()) EXPECT_EQ(transport_of(to_text(transport)), transport);
  EXPECT_THAT([] { transport_of("ring"); },
              ThrowsMessage<ConfigError>(AllOf(HasSubstr("p2p"), HasSubstr("all_gather"), HasSubstr("a2a"),
                                               HasSubstr("a2a+p2p"), HasSubstr("got ring"))));
}

TEST(Transport, TheTableHasTheWordsThatTheFlagTakes) {
  std::vector<std::string_view> words;
  for (const CpTransport transport : cp_transports()) {
    words.push_back(transport.row().name.word);
    for (const std::string& other : transport.row().name.spellings) {
      EXPECT_EQ(transport_of(other), transport);
      words.push_back(other);
    }
  }
  words.emplace_back("auto");
  EXPECT_EQ(words, cp_comm_types());
  EXPECT_EQ(transports_text(), "p2p, all_gather, a2a or a2a+p2p");
}

TEST(Transport, AWordIsTakenOnce) {
  for (const char* word : {"p2p", "allgather", "auto"}) {
    EXPECT_THROW(add_transport({.name = {word}, .plan = plan_p2p}), InternalError) << word;
    EXPECT_THROW(add_transport({.name = {"new", {word}}, .plan = plan_p2p}), InternalError) << word;
  }
  EXPECT_THROW(add_transport({.name = {"new"}}), InternalError);
  EXPECT_EQ(cp_transports().size(), 4u);
  EXPECT_EQ(find_transport_word("new"), nullptr);
}

TEST(Transport, RanksThatShareHeads) {
  EXPECT_EQ(head_ranks_of(CpTransport::p2p, 6, 3), 1);
  EXPECT_EQ(head_ranks_of(CpTransport::all_gather, 6, 3), 1);
  EXPECT_EQ(head_ranks_of(CpTransport::a2a, 6, 3), 6);
  EXPECT_EQ(head_ranks_of(CpTransport::hierarchical, 6, 3), 3);
  for (const int a : {4, 0, -1, 12}) {
    EXPECT_THAT([&] { head_ranks_of(CpTransport::hierarchical, 6, a); },
                ThrowsMessage<ConfigError>(HasSubstr("--hierarchical-context-parallel-sizes")));
  }
}

TEST(Transport, TheGroupsOfAHierarchyAreNeighbours) {
  const Masks masks = {{24, true}};
  const SequenceLayout layout = contiguous_layout(24, 6);
  for (int rank = 0; rank < 6; ++rank) {
    const TransportPlan plan = make_transport_plan(CpTransport::hierarchical, 2, {layout, masks}, rank);
    EXPECT_EQ(plan.head_ranks, 2);
    EXPECT_EQ(plan.passes.forward.rank, rank / 2);
    EXPECT_EQ(plan.inner, contiguous_layout(24, 3));
    EXPECT_EQ(plan.passes.saved_owner, (rank / 2 + 1) % 3);
    EXPECT_EQ(plan.passes.forward.steps.size(), 3u);
  }
  const TransportPlan all = make_transport_plan(CpTransport::a2a, 1, {layout, masks}, 4);
  EXPECT_EQ(all.inner, contiguous_layout(24, 1));
  EXPECT_EQ(all.passes.forward.rank, 0);
  EXPECT_EQ(all.passes.saved_owner, 0);
  EXPECT_THROW(make_transport_plan(CpTransport::p2p, 1, {layout, masks}, 6), InternalError);
}

TEST(ClosedForm, Numbers) {
  const AttentionShape shape{1, 20, 3, 5, 5, 2, 3};  // Q = out = 200, KV = 60, dKV = 90 per position
  const std::int64_t s = 48;
  EXPECT_EQ(closed_form_bytes(4, 1, s, shape), (TransportBytes{3 * 12 * 60, 3 * 12 * (60 + 90)}));
  EXPECT_EQ(closed_form_bytes(4, 4, s, shape),
            (TransportBytes{3 * 12 * (2 * 200 + 60) / 4, 3 * 12 * (2 * 200 + 60) / 4}));
  const std::int64_t heads_part = 12 * (2 * 200 + 60) / 2;
  EXPECT_EQ(closed_form_bytes(4, 2, s, shape), (TransportBytes{heads_part + 12 * 60, heads_part + 12 * (60 + 90)}));
  EXPECT_EQ(closed_form_bytes(1, 1, s, shape), (TransportBytes{0, 0}));
}

TEST(PlanHash, IsTheSameOnlyForTheSamePlan) {
  const auto hash = [](CpTransport transport, int a, const SequenceLayout& layout, const Masks& masks) {
    return plan_hash(transport, a, {layout, masks});
  };
  const SequenceLayout zigzag = zigzag_layout(24, 4);
  const Masks causal = {{24, true}};
  const std::uint64_t base = hash(CpTransport::p2p, 1, zigzag, causal);
  EXPECT_EQ(base, hash(CpTransport::p2p, 1, zigzag_layout(24, 4), Masks{{24, true}}));
  const std::vector<std::uint64_t> all = {
      base,
      hash(CpTransport::all_gather, 1, zigzag, causal),
      hash(CpTransport::a2a, 1, zigzag, causal),
      hash(CpTransport::hierarchical, 1, zigzag, causal),
      hash(CpTransport::hierarchical, 2, zigzag, causal),
      hash(CpTransport::p2p, 1, contiguous_layout(24, 4), causal),
      hash(CpTransport::p2p, 1, zigzag_layout(24, 3), causal),
      hash(CpTransport::p2p, 1, zigzag, {{24, false}}),
      hash(CpTransport::p2p, 1, zigzag, {{24, true}, {24, true}}),
      hash(CpTransport::p2p, 1, zigzag, {{24, true, {3, -1}}}),
      hash(CpTransport::p2p, 1, zigzag, {{24, true, {4, -1}}}),
      hash(CpTransport::p2p, 1, zigzag, {{24, true, {30, -1}}}),  // the mask of `causal`, but not its plan
      hash(CpTransport::p2p, 1, zigzag, {{24, false, {1, 0}}}),
      hash(CpTransport::p2p, 1, zigzag, {{24, false, {0, 1}}}),
      hash(CpTransport::p2p, 1, zigzag, {{24, true, {}, {12}}}),
      hash(CpTransport::p2p, 1, zigzag, {{24, true, {}, {11}}}),
      // Windows that mirror each other, with a document of one position in the middle.
      hash(CpTransport::p2p, 1, zigzag, {{24, false, {1, 0}, {12, 13}}}),
      hash(CpTransport::p2p, 1, zigzag, {{24, false, {0, 1}, {12, 13}}}),
  };
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(all[i], all[j]) << j << " and " << i;
  }
}

}  // namespace
}  // namespace ringtron

#include "ringtron/context_parallel/plan/plan_check.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <utility>

#include "ringtron/context_parallel/plan/balanced_layout.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Masks = std::vector<AttentionMask>;

// About `count` document starts, spread without a pattern that a layout could share; neighbours may be one
// apart.
std::vector<std::int64_t> some_starts(std::int64_t length, std::int64_t count, std::int64_t seed) {
  std::vector<std::int64_t> starts;
  for (std::int64_t position = 1; position < length; ++position) {
    if ((position * position * 7 + position * seed + 3 * seed) % length < count) starts.push_back(position);
  }
  return starts;
}

// One mask for all samples, or one for each of two.
struct MaskKind {
  const char* name;
  std::function<Masks(std::int64_t)> make;
};

const std::vector<MaskKind>& mask_kinds() {
  static const std::vector<MaskKind> kinds = {
      {"causal",
       [](std::int64_t s) {
         return Masks{{s, true}};
       }},
      {"full",
       [](std::int64_t s) {
         return Masks{{s, false}};
       }},
      {"causal window",
       [](std::int64_t s) {
         return Masks{{s, true, {s / 5, -1}}};
       }},
      {"full window",
       [](std::int64_t s) {
         return Masks{{s, false, {1, s / 4}}};
       }},
      {"causal documents",
       [](std::int64_t s) {
         return Masks{{s, true, {}, some_starts(s, 4, 1)}, {s, true, {}, some_starts(s, 2, 5)}};
       }},
      {"full documents",
       [](std::int64_t s) {
         return Masks{{s, false, {}, some_starts(s, 3, 2)}};
       }},
      {"window and documents",
       [](std::int64_t s) {
         return Masks{{s, true, {3, -1}, some_starts(s, 2, 3)}, {s, true, {3, -1}, {}}};
       }},
  };
  return kinds;
}

// Also lengths below the number of ranks, and none that is only convenient.
std::vector<std::int64_t> lengths_for(int ranks) {
  return {1, 2, 7, 2 * ranks, 4 * ranks - 1, 6 * ranks + 1};
}

struct Transport {
  CpTransport transport;
  int a;
};

std::vector<Transport> transports_for(int ranks) {
  std::vector<Transport> transports = {
      {CpTransport::p2p, 1}, {CpTransport::all_gather, 1}, {CpTransport::a2a, 1}};
  for (int a = 1; a <= ranks; ++a) {
    if (ranks % a == 0) transports.push_back({CpTransport::hierarchical, a});
  }
  return transports;
}

class EveryPlan : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, EveryPlan, ::testing::Range(1, 17));

TEST_P(EveryPlan, IsProven) {
  const int ranks = GetParam();
  int proven = 0;
  for (const MaskKind& kind : mask_kinds()) {
    for (const std::int64_t length : lengths_for(ranks)) {
      const Masks masks = kind.make(length);
      for (const char* name : {"zigzag", "contiguous", "balanced"}) {
        const SequenceLayout layout = make_layout(name, masks, ranks);
        for (const auto& [transport, a] : transports_for(ranks)) {
          ASSERT_THAT(check_plans({layout, masks}, transport, a, 2 * ranks, ranks), IsEmpty())
              << to_text(transport) << " " << a << " on " << ranks << " ranks, " << name << ", " << kind.name
              << ", length " << length;
          ++proven;
        }
      }
    }
  }
  RecordProperty("plans", proven);
}

TEST(PlanCheck, ProvesLongSequences) {
  for (const MaskKind& kind : mask_kinds()) {
    const Masks masks = kind.make(4097);
    for (const char* name : {"zigzag", "balanced"}) {
      const SequenceLayout layout = make_layout(name, masks, 8);
      for (const CpTransport transport :
           {CpTransport::p2p, CpTransport::all_gather, CpTransport::hierarchical}) {
        EXPECT_THAT(check_plans({layout, masks}, transport, 2, 40, 8), IsEmpty())
            << to_text(transport) << ", " << name << ", " << kind.name;
      }
    }
  }
}

TEST_P(EveryPlan, AttendsToTheAreaOfTheMasks) {
  const int ranks = GetParam();
  for (const MaskKind& kind : mask_kinds()) {
    const Masks masks = kind.make(5 * ranks + 2);
    std::int64_t expected = 0;
    for (const AttentionMask& mask : masks) expected += mask.area();
    for (const auto& [transport, a] : transports_for(ranks)) {
      const SequenceLayout layout = zigzag_layout(5 * ranks + 2, ranks);
      std::int64_t forward = 0, backward = 0;
      const PlansOfRanks all = make_plans({layout, masks}, transport, a);
      for (const TransportPlan& plan : all.plans) {
        forward += attended_area(plan.forward, static_cast<std::int64_t>(masks.size()));
        backward += attended_area(plan.backward, static_cast<std::int64_t>(masks.size()));
      }
      // Every head once: the ranks that share heads attend to the same cells.
      EXPECT_EQ(forward, expected * all.plans.front().head_ranks) << kind.name << " " << to_text(transport);
      EXPECT_EQ(backward, expected * all.plans.front().head_ranks) << kind.name << " " << to_text(transport);
    }
  }
}

TEST_P(EveryPlan, OfTheRingHoldsTwoBlocksAndOfTheGatherAll) {
  const int ranks = GetParam();
  const std::int64_t length = 4 * ranks;
  for (const MaskKind& kind : mask_kinds()) {
    const Masks masks = kind.make(length);
    const SequenceLayout layout = zigzag_layout(length, ranks);
    PlanMemory memory;
    EXPECT_THAT(check_plans(make_plans({layout, masks}, CpTransport::p2p, 1), {layout, masks}, &memory),
                IsEmpty());
    EXPECT_EQ(memory.longest_block, 4);
    EXPECT_LE(memory.foreign_rows, ranks > 1 ? 8 : 0) << kind.name;
    EXPECT_THAT(
        check_plans(make_plans({layout, masks}, CpTransport::all_gather, 1), {layout, masks}, &memory),
        IsEmpty());
    EXPECT_EQ(memory.foreign_rows, (ranks - 1) * 4) << kind.name;
    EXPECT_THAT(check_plans(make_plans({layout, masks}, CpTransport::a2a, 1), {layout, masks}, &memory),
                IsEmpty());
    EXPECT_EQ(memory.foreign_rows, 0) << kind.name;
  }
}

// Independent of plan_check: marks single cells, of heads that come last.
TEST(PlanCheck, ThePositionsOfACausalRingAreTheTriangle) {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    const std::int64_t s = 4 * ranks + 1;
    const Masks masks = {{s, true}};
    const SequenceLayout layout = zigzag_layout(s, ranks);
    for (const bool backward : {false, true}) {
      std::vector<int> cells(static_cast<std::size_t>(s * s), 0);
      for (int rank = 0; rank < ranks; ++rank) {
        const PlanOfRank plans = plan_p2p({layout, masks}, rank);
        for (const Step& step : (backward ? plans.backward : plans.forward).steps) {
          for (const Attend& attend : step.attends) {
            if (attend.heads == HeadPart::filler) continue;
            std::vector<std::int64_t> queries, keys;
            for (const auto& r : positions_of(layout, rank, attend.q))
              for (auto p = r.begin; p < r.end; ++p) queries.push_back(p);
            for (const auto& r : positions_of(layout, attend.owner, attend.kv))
              for (auto p = r.begin; p < r.end; ++p) keys.push_back(p);
            for (std::size_t i = 0; i < queries.size(); ++i)
              for (std::size_t j = 0; j < keys.size(); ++j)
                if (attend.band.is_all() || (attend.band.is_causal() && j <= i))
                  ++cells.at(queries[i] * s + keys[j]);
          }
        }
      }
      for (std::int64_t q = 0; q < s; ++q) {
        for (std::int64_t k = 0; k < s; ++k) ASSERT_EQ(cells[q * s + k], k <= q ? 1 : 0) << q << " " << k;
      }
    }
  }
}

TEST(PlanCheck, EveryRankOfTheZigzagHasTheSameWorkAtEveryStep) {
  const Masks masks = {{64, true}};
  const SequenceLayout layout = zigzag_layout(64, 8);
  for (int rank = 0; rank < 8; ++rank) {
    const ExchangePlan plan = plan_p2p({layout, masks}, rank).forward;
    for (std::size_t i = 1; i < plan.steps.size(); ++i) {
      ASSERT_EQ(plan.steps[i].attends.size(), 1u);
      EXPECT_EQ(plan.steps[i].attends[0].q.length() * plan.steps[i].attends[0].kv.length(), 32);
      EXPECT_TRUE(plan.steps[i].attends[0].band.is_all());
    }
  }
}

// What leaves with a step waits for the attends of the block before; fillers need not, and come first.
TEST(PlanCheck, TheRingsBackwardHasFillersBeforeItSends) {
  const Masks masks = {{64, true}};
  const SequenceLayout layout = zigzag_layout(64, 4);
  const ExchangePlan plan = plan_p2p({layout, masks}, 1).backward;
  ASSERT_EQ(plan.steps.size(), 7u);
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const HeadPart heads = i == 0 ? HeadPart::all : i % 2 == 1 ? HeadPart::filler : HeadPart::last;
    ASSERT_EQ(plan.steps[i].attends.size(), 1u);
    EXPECT_EQ(plan.steps[i].attends[0].heads, heads);
    EXPECT_EQ(plan.steps[i].communicates, heads != HeadPart::filler);
  }
}

TEST(PlanCheck, PrintsPositions) {
  const Masks masks = {{16, true}};
  const SequenceLayout layout = zigzag_layout(16, 4);
  const PlanOfRank plans = plan_p2p({layout, masks}, 1);
  EXPECT_EQ(
      to_string(plans.forward, layout),
      "rank 1 of 4\n"
      "step 0: | q 2-3 12-13 x kv of 1 [2-3 12-13] causal | send kv of 1 [2-3 12-13] to 2 | "
      "receive kv of 0 [0-1 14-15] from 0\n"
      "step 1: | q 2-3 12-13 x kv of 0 [0-1] | send kv of 0 [0-1 14-15] to 2 | "
      "receive kv of 3 [6-9] from 0\n"
      "step 2: | q 12-13 x kv of 3 [6-9] | send kv of 3 [6-9] to 2 | receive kv of 2 [4-5 10-11] from 0\n"
      "step 3: | q 12-13 x kv of 2 [4-5 10-11]\n");
  EXPECT_THAT(to_string(plans.backward, layout),
              AllOf(HasSubstr("step 1: | q 12-13 x kv of 3 [6-9] filler heads\n"),
                    HasSubstr("step 2: | q 12-13 x kv of 3 [6-9] last heads | send")));
}

// A window moves only what it reaches, however long the sequence is.
TEST(PlanCheck, AWindowSendsAHaloAndDocumentsSendWhatCrosses) {
  for (const std::int64_t length : {64, 1024}) {
    const Masks window = {{length, true, {5, -1}}};
    const SequenceLayout layout = contiguous_layout(length, 8);
    const PlansOfRanks all = make_plans({layout, window}, CpTransport::p2p, 1);
    for (int rank = 0; rank < 8; ++rank) {
      const RowsSent forward = rows_sent(all.plans[rank].forward),
                     backward = rows_sent(all.plans[rank].backward);
      EXPECT_EQ(forward.key_value, rank < 7 ? 5 : 0);
      EXPECT_EQ(forward.gradient, 0);
      EXPECT_EQ(backward.key_value, rank < 7 ? 5 : 0);
      EXPECT_EQ(backward.gradient, rank > 0 ? 5 : 0);
    }
  }
  // Documents that end where shards end: nothing to send.
  const Masks documents = {{64, true, {}, {8, 16, 24, 32, 40, 48, 56}}};
  const SequenceLayout layout = contiguous_layout(64, 8);
  for (const TransportPlan& plan : make_plans({layout, documents}, CpTransport::p2p, 1).plans) {
    EXPECT_EQ(rows_sent(plan.forward).key_value + rows_sent(plan.backward).gradient, 0);
  }
}

TEST(PlanCheck, ThePeersOfHeadSlicesAreApart) {
  const Masks masks = {{24, true}};
  const SequenceLayout layout = zigzag_layout(24, 6);
  const PlansOfRanks all = make_plans({layout, masks}, CpTransport::hierarchical, 2);
  EXPECT_EQ(all.plans[3].inner_rank(), 1);
  EXPECT_EQ(all.plans[3].forward.steps[0].sends[0].peer, 5);
  EXPECT_EQ(all.plans[3].forward.steps[0].receives[0].peer, 1);
}

}  // namespace
}  // namespace ringtron

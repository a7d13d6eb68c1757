#include "ringtron/context_parallel/plan_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

namespace ringtron {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TEST(PlanCheck, TheRingIsProvenForUpToSixteenRanks) {
  for (int ranks = 1; ranks <= 16; ++ranks) {
    for (const bool causal : {true, false}) {
      for (const SequenceLayout& layout : {zigzag_layout(4 * ranks, ranks), contiguous_layout(4 * ranks, ranks)}) {
        EXPECT_THAT(check_plans(layout, plan_p2p_all_ranks(layout, causal), causal), IsEmpty())
            << layout.name() << " on " << ranks << (causal ? " causal" : "");
      }
    }
  }
}

// Independent of the chunks: marks single cells (query position, key position).
TEST(PlanCheck, ThePositionsOfACausalRingAreTheTriangle) {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    const SequenceLayout layout = zigzag_layout(4 * ranks, ranks);
    const std::int64_t s = layout.sequence_length();
    for (const bool backward : {false, true}) {
      const PlanPair plans = plan_p2p_all_ranks(layout, true);
      std::vector<int> cells(static_cast<std::size_t>(s * s), 0);
      for (const ExchangePlan& plan : backward ? plans.backward : plans.forward) {
        for (const Step& step : plan.steps) {
          for (const Attend& attend : step.attends) {
            std::vector<std::int64_t> queries, keys;
            for (const auto& r : layout.positions(plan.rank, attend.q))
              for (auto p = r.begin; p < r.end; ++p) queries.push_back(p);
            for (const auto& r : layout.positions(step.owner, attend.kv))
              for (auto p = r.begin; p < r.end; ++p) keys.push_back(p);
            for (std::size_t i = 0; i < queries.size(); ++i)
              for (std::size_t j = 0; j < keys.size(); ++j)
                if (attend.mask == MaskKind::none || j <= i) ++cells.at(queries[i] * s + keys[j]);
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
  const SequenceLayout layout = zigzag_layout(64, 8);
  for (const ExchangePlan& plan : plan_p2p_all_ranks(layout, true).forward) {
    for (std::size_t i = 1; i < plan.steps.size(); ++i) {
      ASSERT_EQ(plan.steps[i].attends.size(), 1u);
      const Attend& attend = plan.steps[i].attends[0];
      EXPECT_EQ(attend.q.count * attend.kv.count, 2);
    }
  }
}

TEST(PlanCheck, OwnersOfTheWorkedExample) {
  const SequenceLayout layout = zigzag_layout(16, 4);
  const PlanPair plans = plan_p2p_all_ranks(layout, true);
  const int forward[4][4] = {{0, 3, 2, 1}, {1, 0, 3, 2}, {2, 1, 0, 3}, {3, 2, 1, 0}};
  const int backward[4][4] = {{1, 2, 3, 0}, {2, 3, 0, 1}, {3, 0, 1, 2}, {0, 1, 2, 3}};
  for (int rank = 0; rank < 4; ++rank) {
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(plans.forward[rank].steps[i].owner, forward[rank][i]);
      EXPECT_EQ(plans.backward[rank].steps[i].owner, backward[rank][i]);
    }
  }
}

TEST(PlanCheck, PrintsGlobalChunkNumbers) {
  const SequenceLayout layout = zigzag_layout(16, 4);
  EXPECT_EQ(to_string(plan_p2p_forward(layout, true, 1), layout),
            "rank 1 of 4\n"
            "step 0: kv of 1 | q 1 6 x kv 1 6 causal | send kv 1 to 2 | receive kv 0 from 0\n"
            "step 1: kv of 0 | q 1 6 x kv 0 | send kv 0 to 2 | receive kv 3 from 0\n"
            "step 2: kv of 3 | q 6 x kv 3 4 | send kv 3 to 2 | receive kv 2 from 0\n"
            "step 3: kv of 2 | q 6 x kv 2 5\n");
  EXPECT_THAT(to_string(plan_p2p_backward(layout, true, 1), layout),
              HasSubstr("step 2: kv of 0 | q 1 6 x kv 0 | send kv 0 to 0 | send dkv 3 to 0 | receive kv 1 from 2 | "
                        "receive dkv 0 from 2\n"));
}

TEST(PlanCheck, BytesAreTheClosedForm) {
  for (int ranks = 1; ranks <= 16; ++ranks) {
    const PlanPair plans = plan_p2p_all_ranks(zigzag_layout(4 * ranks, ranks), true);
    for (int rank = 0; rank < ranks; ++rank) {
      EXPECT_EQ(bytes_sent(plans.forward[rank], 100, 7) + bytes_sent(plans.backward[rank], 100, 7),
                p2p_bytes_closed_form(ranks, 100, 7));
    }
  }
}

// Negative controls: each damage must be refuted.
class PlanDamage : public ::testing::Test {
 protected:
  std::vector<std::string> faults() const { return check_plans(layout_, plans_, true); }
  SequenceLayout layout_ = zigzag_layout(16, 4);
  PlanPair plans_ = plan_p2p_all_ranks(layout_, true);
};

TEST_F(PlanDamage, TwoStepsSwapped) {
  std::swap(plans_.forward[2].steps[1], plans_.forward[2].steps[2]);
  EXPECT_THAT(faults(), Contains(HasSubstr("holds that of rank")));
}

TEST_F(PlanDamage, TwoChunksSwapped) {
  SequenceLayout swapped("swapped", {{{7, {14, 16}}, {0, {0, 2}}},
                                     {{1, {2, 4}}, {6, {12, 14}}},
                                     {{2, {4, 6}}, {5, {10, 12}}},
                                     {{3, {6, 8}}, {4, {8, 10}}}});
  EXPECT_THAT(check_plans(swapped, plans_, true), Not(IsEmpty()));
}

TEST_F(PlanDamage, AnAttendLeftOut) {
  plans_.backward[3].steps[1].attends.clear();
  EXPECT_THAT(faults(), Contains(HasSubstr("expected 1 full")));
}

TEST_F(PlanDamage, AnAttendDoneTwice) {
  plans_.forward[0].steps[1].attends.push_back(plans_.forward[0].steps[1].attends[0]);
  EXPECT_THAT(faults(), Contains(HasSubstr("got 2 and 0")));
}

TEST_F(PlanDamage, AWrongMask) {
  plans_.forward[1].steps[0].attends[0].mask = MaskKind::none;
  EXPECT_THAT(faults(), Contains(HasSubstr("query chunk 1 x key chunk 6")));
}

TEST_F(PlanDamage, AMessageToTheWrongRank) {
  plans_.forward[0].steps[0].sends[0].peer = 2;
  EXPECT_THAT(faults(), Contains(HasSubstr("sends it nothing")));
}

TEST_F(PlanDamage, AGradientThatIsNotSentHome) {
  plans_.backward[0].steps[3].sends.clear();
  plans_.backward[3].steps[3].receives.clear();
  EXPECT_THAT(faults(), Contains(HasSubstr("contributions of rank")));
}

}  // namespace
}  // namespace ringtron

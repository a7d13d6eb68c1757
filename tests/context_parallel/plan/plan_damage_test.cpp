// Negative controls of plan_check: each damage must be seen.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "ringtron/context_parallel/plan/plan_check.h"

namespace ringtron {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Masks = std::vector<AttentionMask>;

class PlanDamage : public ::testing::Test {
 protected:
  void use(CpTransport transport, int a, Masks masks) {
    masks_ = std::move(masks);
    all_ = make_plans({layout_, masks_}, transport, a);
  }
  void expect_fault(const std::string& text) {
    EXPECT_THAT(check_plans(all_, {layout_, masks_}), Contains(HasSubstr(text)));
  }
  Step& forward(int rank, std::size_t step) {
    return all_.plans[static_cast<std::size_t>(rank)].forward.steps.at(step);
  }
  Step& backward(int rank, std::size_t step) {
    return all_.plans[static_cast<std::size_t>(rank)].backward.steps.at(step);
  }

  SequenceLayout layout_ = zigzag_layout(16, 4);
  Masks masks_ = {{16, true}};
  PlansOfRanks all_ = make_plans({layout_, masks_}, CpTransport::p2p, 1);
};

TEST_F(PlanDamage, NoneIsNoFault) {
  EXPECT_THAT(check_plans(all_, {layout_, masks_}), IsEmpty());
}

TEST_F(PlanDamage, AMessageThatIsNotSent) {
  forward(0, 1).sends.clear();
  expect_fault("forward step 1: rank 0 sends nothing to rank 1, which receives kv of 3 [0-4)");
}

TEST_F(PlanDamage, AMessageThatIsNotReceived) {
  forward(1, 1).receives.clear();
  expect_fault("forward step 1: rank 0 sends kv of 3 [0-4) to rank 1, which receives nothing");
}

TEST_F(PlanDamage, AMessageThatBothSidesForgot) {
  forward(0, 0).sends.clear();
  forward(1, 0).receives.clear();
  expect_fault("forward step 1: rank 1 attends to what it does not hold");
}

TEST_F(PlanDamage, AMessageToTheWrongRank) {
  forward(0, 0).sends[0].peer = 2;
  expect_fault("forward step 0: rank 0 sends kv of 0 [0-4) to rank 2, which receives nothing");
}

TEST_F(PlanDamage, AMessageToItself) {
  forward(0, 0).sends[0].peer = 0;
  expect_fault("forward step 0: rank 0 has a message with rank 0");
}

TEST_F(PlanDamage, AMessageToARankThatDoesNotExist) {
  forward(0, 0).sends[0].peer = 4;
  expect_fault("forward step 0: rank 0 has a message with rank 4");
}

TEST_F(PlanDamage, AMessageOfABlockThatIsNotHeld) {
  forward(0, 0).sends[0].owner = forward(1, 0).receives[0].owner = 2;
  expect_fault("forward step 0: rank 0 sends what it does not hold: kv of 2 [0-4)");
}

TEST_F(PlanDamage, AMessageOfRowsThatDoNotExist) {
  forward(0, 0).sends[0].rows = forward(1, 0).receives[0].rows = {1, 5};
  expect_fault("forward step 0: rank 0 sends rows that do not exist");
}

TEST_F(PlanDamage, AMessageThatIsARowShort) {
  forward(0, 0).sends[0].rows = forward(1, 0).receives[0].rows = {1, 4};
  expect_fault("forward step 1: rank 1 attends to what it does not hold");
}

TEST_F(PlanDamage, OneSideOfAMessageShifted) {
  forward(0, 0).sends[0].rows = {0, 2};
  expect_fault("forward step 0: rank 0 sends kv of 0 [0-2) to rank 1, which receives kv of 0 [0-4)");
}

TEST_F(PlanDamage, AMessageSentTwice) {
  forward(0, 0).sends.push_back(forward(0, 0).sends[0]);
  forward(1, 0).receives.push_back(forward(1, 0).receives[0]);
  expect_fault("forward step 0: rank 1 receives what it holds already");
}

TEST_F(PlanDamage, TwoMessagesInAnotherOrder) {
  ASSERT_EQ(backward(1, 2).sends.size(), 2u);
  std::swap(backward(1, 2).sends[0], backward(1, 2).sends[1]);
  expect_fault(
      "backward step 2: rank 1 sends dkv of 2 [0-4), kv of 3 [0-4) to rank 0, which receives kv of 3 [0-4), "
      "dkv");
}

TEST_F(PlanDamage, TwoStepsSwapped) {
  std::swap(all_.plans[2].forward.steps[1], all_.plans[2].forward.steps[2]);
  expect_fault("forward step 1: rank 2 attends to what it does not hold");
}

TEST_F(PlanDamage, OneRankThatDoesNotCommunicate) {
  forward(2, 1).communicates = false;
  expect_fault("forward step 1: rank 2 does not communicate, rank 0 does not agree");
  expect_fault("forward step 1: rank 2 has messages in a step that does not communicate");
}

TEST_F(PlanDamage, NoRankThatCommunicates) {
  for (int rank = 0; rank < 4; ++rank) forward(rank, 0).communicates = false;
  expect_fault("forward step 0: rank 3 has messages in a step that does not communicate");
}

TEST_F(PlanDamage, AStepMoreOnOneRank) {
  all_.plans[1].backward.steps.push_back({true, {}, {}, {}});
  expect_fault("backward: rank 1 has 8 steps, rank 0 has 7");
}

TEST_F(PlanDamage, AnAttendLeftOut) {
  backward(3, 2).attends.clear();
  expect_fault("backward: rank 3, query 8 of sample 0: expected keys [0-9), got");
}

TEST_F(PlanDamage, AnAttendDoneTwice) {
  forward(0, 1).attends.push_back(forward(0, 1).attends[0]);
  expect_fault("forward: rank 0, query 14 of sample 0: expected keys [0-15), got");
}

TEST_F(PlanDamage, ABandOneWider) {
  forward(1, 0).attends[0].band.right = 1;
  expect_fault("forward: rank 1, query 2 of sample 0: expected keys [0-3), got [0-2) [2-4)");
}

TEST_F(PlanDamage, ABandOneNarrower) {
  use(CpTransport::p2p, 1, {{16, true, {2, -1}}});
  for (Attend& attend : forward(3, 0).attends) {
    if (attend.band.left != Band::kUnbounded) attend.band.left -= 1;
  }
  expect_fault("forward: rank 3, query 8 of sample 0: expected keys [6-9), got [7-9)");
}

TEST_F(PlanDamage, KeysShifted) {
  forward(1, 1).attends[0].kv = {1, 3};
  expect_fault("forward: rank 1, query 2 of sample 0: expected keys [0-3), got [1-2) [2-3) [14-15)");
}

TEST_F(PlanDamage, QueriesThatDoNotExist) {
  forward(1, 1).attends[0].q = {1, 5};
  expect_fault("forward step 1: rank 1 attends to what does not exist: q [1-5) x kv of 0 [0-2)");
}

TEST_F(PlanDamage, AnotherSample) {
  use(CpTransport::p2p, 1, {{16, true, {}, {5}}, {16, true, {}, {9}}});
  forward(0, 0).attends[0].sample = 1;
  expect_fault("forward: rank 0, query 0 of sample 0: expected keys [0-1), got none");
  forward(0, 0).attends[0].sample = 2;
  expect_fault("of sample 2");
}

TEST_F(PlanDamage, AGradientThatIsNotSentHome) {
  backward(0, 6).sends.clear();
  backward(3, 6).receives.clear();
  expect_fault("backward: rank 3, gradient of position 6: expected the parts of attends");
}

TEST_F(PlanDamage, AGradientThatGoesHomeBeforeItIsWhole) {
  for (const int rank : {0, 1})
    backward(rank, 6).attends.push_back({{0, 1}, 3 - rank, {0, 1}, Band::all(), kEverySample});
  expect_fault("backward: rank 3, gradient of position 6");
}

TEST_F(PlanDamage, AGradientSentOnAfterItHasLeft) {
  backward(1, 4).sends.push_back({0, Payload::key_value_gradient, 2, {0, 4}});
  backward(0, 4).receives.push_back({1, Payload::key_value_gradient, 2, {0, 4}});
  expect_fault("backward step 4: rank 1 sends what it does not hold: dkv of 2 [0-4)");
}

// It would travel in a type that holds one rank's gradient, not a sum.
TEST_F(PlanDamage, ASumThatIsSentAsOneRanksOwn) {
  for (Message* message : {&backward(1, 4).sends.back(), &backward(0, 4).receives.back()}) {
    ASSERT_EQ(message->payload, Payload::key_value_gradient_sum);
    message->payload = Payload::key_value_gradient;
  }
  expect_fault("backward step 4: rank 1 sends as its own gradient what others have added to: dkv of 3 [0-4)");
}

TEST_F(PlanDamage, ABlockThatIsNotKeptForTheBackward) {
  for (TransportPlan& plan : all_.plans) plan.keeps_last_block = false;
  expect_fault("backward step 0: rank 0 sends what it does not hold: kv of 1 [0-4)");
}

TEST_F(PlanDamage, ABlockThatOneRankDoesNotKeep) {
  all_.plans[1].keeps_last_block = false;
  expect_fault("rank 1: transport, sizes, layout or what is kept differ");
}

TEST_F(PlanDamage, AnotherLayout) {
  const PlansOfRanks others = make_plans({contiguous_layout(16, 4), masks_}, CpTransport::p2p, 1);
  all_.plans[2] = others.plans[2];
  expect_fault("rank 2: transport, sizes, layout or what is kept differ");
}

TEST_F(PlanDamage, ThePlanOfAnotherRank) {
  all_.plans[2] = all_.plans[1];
  expect_fault("expected the plan of rank 2 of 4, got that of rank 1 of 4");
}

TEST_F(PlanDamage, APeerWithOtherHeads) {
  use(CpTransport::hierarchical, 2, {{16, true}});
  EXPECT_THAT(check_plans(all_, {layout_, masks_}), IsEmpty());
  forward(1, 0).sends[0].peer = 2;
  expect_fault("forward step 0: rank 1 has a message with rank 2, which does not hold its heads");
}

TEST_F(PlanDamage, OfOneHeadSliceOnly) {
  use(CpTransport::hierarchical, 2, {{16, true}});
  forward(3, 1).attends.clear();
  expect_fault("forward: rank 3, query");
}

TEST_F(PlanDamage, TheWholeSequenceBeforeItIsThere) {
  use(CpTransport::all_gather, 1, {{16, true}});
  EXPECT_THAT(check_plans(all_, {layout_, masks_}), IsEmpty());
  std::swap(forward(1, 0).attends, forward(1, 1).attends);
  expect_fault("forward step 0: rank 1 attends to what it does not hold");
}

class HeadPartDamage : public PlanDamage {
 protected:
  HeadPartDamage() { use(CpTransport::all_gather, 1, {{16, true}}); }
  Attend& first() { return backward(2, 0).attends.at(0); }
  Attend& filler() { return backward(2, 2).attends.at(0); }
  Attend& last() { return backward(2, 3).attends.at(0); }
};

TEST_F(HeadPartDamage, NoneIsNoFault) {
  EXPECT_EQ(first().heads, HeadPart::first);
  EXPECT_EQ(filler().heads, HeadPart::filler);
  EXPECT_EQ(last().heads, HeadPart::last);
  EXPECT_THAT(check_plans(all_, {layout_, masks_}), IsEmpty());
}

TEST_F(HeadPartDamage, OneTwice) {
  filler().heads = HeadPart::first;
  expect_fault("backward: rank 2 attends to q [0-4) x kv of 2 [0-4) with one part of the heads twice");
  expect_fault("backward: rank 2, query");
}

TEST_F(HeadPartDamage, OneLeftOut) {
  backward(2, 2).attends.clear();
  expect_fault("backward: rank 2, query");
}

// Then no rank has the part, but heads that do not divide are all in it.
TEST_F(HeadPartDamage, OneLeftOutOnAllRanks) {
  for (const std::size_t step : {0, 2}) {
    use(CpTransport::all_gather, 1, {{16, true}});
    for (int rank = 0; rank < 4; ++rank) backward(rank, step).attends.clear();
    expect_fault("backward: rank 2 attends to q [0-4) x kv of 2 [0-4) with the last part of the heads before another");
  }
}

TEST_F(HeadPartDamage, AFirstPartOnARing) {
  use(CpTransport::p2p, 1, {{16, true}});
  backward(2, 1).attends.at(0).heads = HeadPart::first;
  expect_fault("with a first part of the heads, which is empty here");
}

TEST_F(HeadPartDamage, NoFillerOnARing) {
  use(CpTransport::p2p, 1, {{16, true}});
  for (int rank = 0; rank < 4; ++rank) backward(rank, 1).attends.clear();
  expect_fault("with the last part of the heads before another");
}

TEST_F(HeadPartDamage, TheLastLeftOut) {
  backward(2, 3).attends.clear();
  expect_fault("backward: rank 2 attends to q [0-4) x kv of 2 [0-4) with a part of the heads and not the last");
  expect_fault("backward: rank 2, query");
}

// Every cell is computed once for every head all the same: only the order is wrong.
TEST_F(HeadPartDamage, TheLastBeforeAnother) {
  std::swap(filler().heads, last().heads);
  expect_fault("backward: rank 2 attends to q [0-4) x kv of 2 [0-4) with the last part of the heads before another");
}

TEST_F(HeadPartDamage, TheLastInTwoPieces) {
  Attend piece = last();
  piece.band = Band::all();
  piece.q = {0, 1};
  piece.kv = {0, 1};
  backward(2, 3).attends.push_back(piece);
  last().q = {1, 4};
  last().band = {Band::kUnbounded, 1};
  expect_fault("backward: rank 2 attends to q [0-4) x kv of 2 [0-4) with a part of the heads and not the last");
}

TEST_F(HeadPartDamage, InAForward) {
  Attend part = forward(2, 0).attends.at(0);
  part.heads = HeadPart::last;
  forward(2, 0).attends[0].heads = HeadPart::first;
  forward(2, 1).attends.push_back(part);
  expect_fault("forward: rank 2 attends to q [0-4) x kv of 2 [0-4) with a part of the heads");
}

TEST(HeadShareCheck, SeesWhatIsMissing) {
  EXPECT_THAT(check_head_shares({{{0, 2}, {0, 1}}, {{2, 4}, {1, 2}}}, 4, 2), IsEmpty());
  EXPECT_THAT(check_head_shares({{{0, 2}, {0, 1}}, {{3, 4}, {1, 2}}}, 4, 2),
              Contains("query head 2 is in 0 head shares"));
  EXPECT_THAT(check_head_shares({{{0, 3}, {0, 2}}, {{2, 4}, {1, 2}}}, 4, 2),
              Contains("query head 2 is in 2 head shares"));
  EXPECT_THAT(check_head_shares({{{0, 3}, {0, 1}}, {{3, 4}, {1, 2}}}, 4, 2),
              Contains("head share 0: query head 2 uses key/value head 1, which is not in [0-1)"));
  EXPECT_THAT(check_head_shares({{{0, 5}, {0, 2}}}, 4, 2),
              Contains(HasSubstr("expected query heads below 4")));
}

}  // namespace
}  // namespace ringtron

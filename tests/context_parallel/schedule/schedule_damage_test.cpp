// Negative controls of schedule_check: each damage to gradients, to what ranks agree on, to heads, memory and tiles
// must be seen.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "ringtron/context_parallel/schedule/varlen_batches.h"
#include "tests/context_parallel/schedule/schedule_damage.h"

namespace ringtron {
namespace {

using testing::bring;
using testing::drop;
using ::testing::HasSubstr;
using testing::insert;
using testing::nth;
using testing::place;
using testing::ScheduleDamage;

using GradientDamage = ScheduleDamage;

TEST_F(GradientDamage, NotSentHome) {
  nth<Exchange>(backward(0), 3).sends.clear();
  nth<Exchange>(backward(3), 3).receives.clear();
  expect_fault("backward: rank 3, gradient of position 6: expected the parts of launches");
}

TEST_F(GradientDamage, SentAndAddedTwice) {
  const int more = static_cast<int>(backward(0).buffers.size());
  backward(0).buffers.push_back(backward(0).buffer(5));
  backward(0).peak.gradient += 4;
  Exchange& from = nth<Exchange>(backward(1), 1);
  from.sends.push_back(from.sends.at(1));
  nth<Exchange>(backward(0), 1).receives.push_back({1, more, {{0, 4}}});
  MoveRows move = nth<MoveRows>(backward(0), 0);
  move.from = more;
  insert(backward(0), place<MoveRows>(backward(0), 0), {1, move});
  expect_fault("backward: rank 2, gradient of position 4: expected the parts of launches");
}

TEST_F(GradientDamage, SentOnAsItCame) {
  nth<Exchange>(backward(1), 2).sends.at(1).buffer = 5;
  drop<Release>(backward(1), 2);
  expect_fault("rank 1 sends from buffer 5, which holds what was received");
}

TEST_F(GradientDamage, AddedToWhatWasReceived) {
  nth<Merge>(backward(1), 1).gradient = 5;
  expect_fault("backward operation 7 (step 1): rank 1 adds to buffer 5, which holds what was received");
}

TEST_F(GradientDamage, MovedToWhatWasReceived) {
  insert(backward(1), place<MoveRows>(backward(1), 0), {1, MoveRows{6, 5, {{{0, 4}, 0}}}});
  expect_fault("backward operation 10 (step 1): rank 1 moves rows to buffer 5, which holds what was received");
}

TEST_F(GradientDamage, ReceivedOverSums) {
  nth<Exchange>(backward(1), 2).receives.at(1).buffer = 6;
  expect_fault("backward operation 13 (step 2): rank 1 receives into buffer 6 of sums, which is in use");
}

TEST_F(GradientDamage, GoesHomeBeforeItIsWhole) {
  bring(backward(1), place<Merge>(backward(1), 2), place<Merge>(backward(1), 3));
  expect_fault("rank 1 adds to buffer 9, which is being sent");
  expect_fault("backward: rank 0, gradient of position 0: expected the parts of launches");
}

TEST_F(GradientDamage, AddedToAfterItHasLeft) {
  drop<Release>(backward(1), 7);
  bring(backward(1), place<Merge>(backward(1), 2), backward(1).operations.size());
  expect_fault("backward: rank 0, gradient of position 0: expected the parts of launches");
}

TEST_F(GradientDamage, EndsInAnotherBuffer) {
  backward(1).result = 3;
  expect_fault("rank 1 ends with buffer 3 after its release");
  backward(1).result = -1;
  expect_fault("rank 1 ends with buffer -1, which does not exist");
  backward(1).result = 7;
  expect_fault("rank 1 ends with buffer 7, which holds kv");
}

using SavedDamage = ScheduleDamage;

TEST_F(SavedDamage, AnotherBuffer) {
  forward(0).saved = 1;
  expect_fault("rank 0: the backward begins with keys and values of rank 1 that the forward does not save");
  expect_fault("rank 0 saves buffer 1 after its release");
}

TEST_F(SavedDamage, ABufferThatDoesNotExist) {
  for (const int saved : {4, -1}) {
    forward(0).saved = saved;
    expect_fault("rank 0: the backward begins with keys and values of rank 1 that the forward does not save");
  }
}

TEST_F(SavedDamage, TheBackwardIsGivenAnotherBlock) {
  backward(0).buffers.at(0).owner = 2;
  expect_fault("rank 0: the backward begins with keys and values of rank 2 that the forward does not save");
}

TEST_F(SavedDamage, TheBackwardIsGivenOtherRowsOfTheBlock) {
  backward(0).buffers.at(0).rows = {{2, 4}, {0, 2}};
  expect_fault("rank 0: the backward begins with keys and values of rank 1 that the forward does not save");
}

TEST_F(SavedDamage, TheBackwardIsGivenABufferOfSums) {
  backward(0).given = 1;
  expect_fault("rank 0: the backward begins with keys and values of rank 0 that the forward does not save");
}

TEST_F(SavedDamage, TheBackwardIsGivenWhatDoesNotExist) {
  backward(0).given = 17;
  expect_fault("rank 0: pass, rank, layout, heads or given buffer differ");
}

using AgreementDamage = ScheduleDamage;

TEST_F(AgreementDamage, AnotherLayout) {
  all_[2] = make_schedules({contiguous_layout(16, 4), masks_}, CpTransport::p2p, 1, {4, 4})[2];
  expect_fault("rank 2: pass, rank, layout, heads or given buffer differ");
}

TEST_F(AgreementDamage, TheSchedulesOfAnotherRank) {
  all_[2] = all_[1];
  expect_fault("rank 2: pass, rank, layout, heads or given buffer differ");
}

TEST_F(AgreementDamage, TheOtherPass) {
  all_[2].forward = all_[2].backward;
  expect_fault("rank 2: pass, rank, layout, heads or given buffer differ");
}

TEST_F(AgreementDamage, ARankWithout) {
  all_.pop_back();
  expect_fault("expected 4 schedules, got 3");
}

TEST_F(AgreementDamage, AnotherTransport) {
  all_[2] = make_schedules({layout_, masks_}, CpTransport::all_gather, 1, {4, 4})[2];
  expect_fault("forward: 3 of 4 ranks begin exchange 1");
}

class HeadDamage : public ScheduleDamage {
 protected:
  HeadDamage() { use(CpTransport::hierarchical, 2, {{16, true}}); }
};

TEST_F(HeadDamage, OtherShares) {
  forward(1).heads = share_heads(8, 4, 2);
  expect_fault("rank 1: pass, rank, layout, heads or given buffer differ");
}

TEST_F(HeadDamage, NumbersOfRanksThatDoNotDivide) {
  for (RankSchedules& schedules : all_) schedules.forward.heads = schedules.backward.heads = share_heads(4, 4, 3);
  expect_fault("3 ranks that share heads do not divide 4 ranks");
}

TEST_F(HeadDamage, APeerWithOtherHeads) {
  nth<Exchange>(forward(1), 0).sends.at(0).peer = 2;
  expect_fault("rank 1 has a message with rank 2, which is itself, does not exist or does not hold its heads");
}

TEST_F(HeadDamage, OfOneHeadSliceOnly) {
  drop<Launch>(forward(3), 1);
  drop<Merge>(forward(3), 1);
  expect_fault("forward: query 4 of sample 0: expected keys [0-5), got [4-5)");
}

TEST_F(HeadDamage, NoExchangeAtTheBeginning) {
  drop<HeadExchange>(forward(2), 0);
  expect_fault("rank 2 does not exchange heads before and after all else");
}

TEST_F(HeadDamage, NoExchangeAtTheEnd) {
  drop<HeadExchange>(backward(2), 1);
  expect_fault("rank 2 does not exchange heads before and after all else");
}

TEST_F(HeadDamage, AnExchangeInTheMiddle) {
  for (const bool to_heads : {true, false}) {
    use(CpTransport::hierarchical, 2, {{16, true}});
    insert(forward(2), 3, {0, HeadExchange{to_heads}});
    expect_fault("forward operation 3 (step 0): rank 2 exchanges heads in the middle");
  }
}

TEST_F(HeadDamage, TheExchangesReversed) {
  nth<HeadExchange>(forward(2), 0).to_heads = false;
  nth<HeadExchange>(forward(2), 1).to_heads = true;
  expect_fault("forward operation 0 (step -1): rank 2 exchanges heads in the middle");
  expect_fault("rank 2 does not exchange heads before and after all else");
}

TEST_F(HeadDamage, AnExchangeWhereNobodySharesHeads) {
  use(CpTransport::p2p, 1, {{16, true}});
  insert(forward(2), 0, {-1, HeadExchange{true}});
  expect_fault("forward operation 0 (step -1): rank 2 exchanges heads that nobody shares");
}

using MemoryDamage = ScheduleDamage;

TEST_F(MemoryDamage, APromiseThatIsTooSmall) {
  forward(1).peak.key_value -= 1;
  expect_fault("rank 1 holds up to 8 rows of others and 0 of gradients, and promises 7 and 0");
  const PeakRows peak = backward(2).peak;
  backward(2).peak.gradient -= 1;
  expect_fault("rank 2 holds up to " + std::to_string(peak.key_value) + " rows of others and " +
               std::to_string(peak.gradient) + " of gradients, and promises " + std::to_string(peak.key_value) +
               " and " + std::to_string(peak.gradient - 1));
}

TEST_F(MemoryDamage, ABufferMore) {
  forward(1).buffers.push_back(forward(1).buffer(2));
  insert(forward(1), place<Launch>(forward(1), 2), {2, MoveRows{2, 4, {{{0, 4}, 0}}}});
  expect_fault("rank 1 holds up to 12 rows of others and 0 of gradients, and promises 8 and 0");
}

// Rank 0 has positions 0, 1, 14 and 15 of two samples, cut at 1 and at 15.
class TileDamage : public ScheduleDamage {
 protected:
  TileDamage() { use(CpTransport::p2p, 1, {{16, true, {}, {1}}, {16, true, {}, {15}}}, true); }
  Launch& launch() { return nth<Launch>(forward(0), 0); }
  void edit(const std::function<void(VarlenBatch&)>& change) {
    ASSERT_NE(launch().batch, nullptr);
    auto batch = std::make_shared<VarlenBatch>(*launch().batch);
    change(*batch);
    launch().batch = std::move(batch);
  }
};

TEST_F(TileDamage, OneLeftOut) {
  edit([](VarlenBatch& batch) { batch.tiles.erase(batch.tiles.begin()); });
  expect_fault("forward: query 0 of sample ");
}

TEST_F(TileDamage, OneTwice) {
  edit([](VarlenBatch& batch) { batch.tiles.push_back(batch.tiles.front()); });
  expect_fault("rank 0 has two tiles with a row in common in one batch");
  expect_fault("forward: query 0 of sample ");
}

TEST_F(TileDamage, OneOutsideItsLaunch) {
  edit([](VarlenBatch& batch) {
    batch.tiles.back().kv = {batch.tiles.back().kv.begin + 4, batch.tiles.back().kv.end + 4};
  });
  expect_fault("rank 0 has a tile that is not in its launch: q [");
}

TEST_F(TileDamage, OneOfASampleThatDoesNotExist) {
  edit([](VarlenBatch& batch) { batch.tiles.back().sample = 2; });
  expect_fault("rank 0 has a tile that is not in its launch: q [");
}

TEST_F(TileDamage, OneOfAnotherSample) {
  edit([](VarlenBatch& batch) { batch.tiles.front().sample = 1 - batch.tiles.front().sample; });
  expect_fault("forward: query 0 of sample 0");
  expect_fault("forward: query 0 of sample 1");
}

// Of one mask for all samples, a tile of the first would leave out the others.
TEST_F(TileDamage, OneOfOneSampleWhereTheMaskIsThatOfAll) {
  use(CpTransport::p2p, 1, {{16, true, {}, {1}}}, true);
  edit([](VarlenBatch& batch) { batch.tiles.front().sample = 0; });
  expect_fault(", sample 0");
}

TEST_F(TileDamage, AnEmptyOne) {
  edit([](VarlenBatch& batch) { batch.tiles.push_back({0, {2, 2}, {2, 2}}); });
  expect_fault("rank 0 has a tile that is not in its launch: q [2-2) x [2-2), sample 0");
}

TEST_F(TileDamage, OneOfTheOtherKind) {
  edit([](VarlenBatch& batch) { batch.causal = false; });
  expect_fault("forward: query 0 of sample ");
}

TEST_F(TileDamage, ACausalOneThatIsNoSquare) {
  edit([](VarlenBatch& batch) {
    ASSERT_TRUE(batch.causal);
    batch.tiles.front().kv.begin += 1;
  });
  expect_fault("rank 0 has a causal tile that is no square");
}

// Every cell is computed once all the same, but one row of results is written by two tiles.
TEST_F(TileDamage, OneCutIntoTwoWithTheSameQueries) {
  use(CpTransport::p2p, 1, {{16, false, {}, {4}}}, true);
  edit([](VarlenBatch& batch) {
    VarlenTile& first = batch.tiles.front();
    ASSERT_GT(first.kv.length(), 1);
    VarlenTile second = first;
    first.kv.end = second.kv.begin = first.kv.begin + 1;
    batch.tiles.push_back(second);
  });
  EXPECT_THAT(check_schedules(all_, {layout_, masks_}),
              ::testing::Each(HasSubstr("rank 0 has two tiles with a row in common in one batch")));
  expect_fault("rank 0 has two tiles with a row in common in one batch");
}

TEST_F(TileDamage, ABatchOfOneSample) {
  launch().sample = 0;
  expect_fault("rank 0 computes a batch of tiles of sample 0 only");
}

}  // namespace
}  // namespace ringtron

// Negative controls of schedule_check: each damage to messages, exchanges and waits must be seen.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "tests/context_parallel/schedule/schedule_damage.h"

namespace ringtron {
namespace {

using testing::append;
using testing::bring;
using testing::drop;
using ::testing::IsEmpty;
using testing::nth;
using testing::place;
using testing::ScheduleDamage;
using testing::twice;

TEST_F(ScheduleDamage, NoneIsNoFault) { EXPECT_THAT(check_schedules(all_, {layout_, masks_}), IsEmpty()); }

using MessageDamage = ScheduleDamage;

TEST_F(MessageDamage, NotSent) {
  nth<Exchange>(forward(0), 1).sends.clear();
  expect_fault("forward exchange 1: rank 0 sends nothing to rank 1, which receives kv of positions [6-10)");
}

TEST_F(MessageDamage, NotReceived) {
  nth<Exchange>(forward(1), 1).receives.clear();
  expect_fault("forward exchange 1: rank 0 sends kv of positions [6-10) to rank 1, which receives nothing");
}

TEST_F(MessageDamage, ForgottenByBothSides) {
  nth<Exchange>(forward(0), 0).sends.clear();
  nth<Exchange>(forward(1), 0).receives.clear();
  expect_fault("forward operation 5 (step 1): rank 1 sends: position 0 is not held");
  expect_fault("forward operation 6 (step 1): rank 1 computes: position 0 is not held");
}

TEST_F(MessageDamage, ToTheWrongRank) {
  sent(0, 0).peer = 2;
  expect_fault("forward exchange 0: rank 0 sends kv of positions [0-2) [14-16) to rank 2, which receives nothing");
  expect_fault("forward exchange 0: rank 0 sends nothing to rank 1, which receives kv of positions [0-2) [14-16)");
}

TEST_F(MessageDamage, ToItself) {
  sent(0, 0).peer = 0;
  expect_fault("forward operation 0 (step 0): rank 0 has a message with rank 0, which is itself");
}

TEST_F(MessageDamage, ToARankThatDoesNotExist) {
  for (const int peer : {4, 100, -1}) {
    sent(0, 0).peer = peer;
    expect_fault("forward operation 0 (step 0): rank 0 has a message with rank " + std::to_string(peer) +
                 ", which is itself, does not exist");
  }
}

TEST_F(MessageDamage, FromARankThatDoesNotExist) {
  for (const int peer : {4, 100, -1}) {
    received(1, 0).peer = peer;
    expect_fault("forward operation 0 (step 0): rank 1 has a message with rank " + std::to_string(peer) +
                 ", which is itself, does not exist");
  }
}

TEST_F(MessageDamage, OfAnotherBuffer) {
  sent(0, 1).buffer = 3;
  expect_fault("forward operation 5 (step 1): rank 0 sends: position 2 is not held");
  expect_fault(
      "forward exchange 1: rank 0 sends kv of positions [2-4) [12-14) to rank 1, which receives kv of positions [6-10)");
}

TEST_F(MessageDamage, OfABufferThatDoesNotExist) {
  for (const int buffer : {17, -1}) {
    sent(0, 1).buffer = received(2, 1).buffer = buffer;
    expect_fault("rank 0 sends from buffer " + std::to_string(buffer) + ", which does not exist");
    expect_fault("rank 2 receives into buffer " + std::to_string(buffer) + ", which does not exist");
  }
}

TEST_F(MessageDamage, OfABufferOfRowsThatDoNotExist) {
  forward(0).buffers.at(2).rows = {{1, 5}};
  expect_fault("rank 0 has a buffer of rows that do not exist: [1-5) of 2");
  forward(0).buffers.at(2).owner = 4;
  expect_fault("rank 0 has a buffer of rows that do not exist: [1-5) of 4");
}

TEST_F(MessageDamage, OfRowsThatDoNotExist) {
  sent(0, 0).rows = received(1, 0).rows = {{1, 5}};
  expect_fault("forward operation 0 (step 0): rank 0 sends from rows [1-5) of buffer 0, which has 4");
  expect_fault("forward operation 0 (step 0): rank 1 receives into rows [1-5) of buffer 1, which has 4");
}

TEST_F(MessageDamage, ARowShort) {
  sent(0, 0).rows = received(1, 0).rows = {{1, 4}};
  expect_fault("forward operation 5 (step 1): rank 1 sends: position 0 is not held");
  expect_fault("forward operation 6 (step 1): rank 1 computes: position 0 is not held");
}

TEST_F(MessageDamage, ShiftedOnOneSide) {
  sent(0, 0).rows = {{0, 2}};
  expect_fault(
      "forward exchange 0: rank 0 sends kv of positions [0-2) to rank 1, which receives kv of positions [0-2) [14-16)");
}

TEST_F(MessageDamage, SentTwice) {
  nth<Exchange>(forward(0), 0).sends.push_back(sent(0, 0));
  nth<Exchange>(forward(1), 0).receives.push_back(received(1, 0));
  expect_fault("forward operation 0 (step 0): rank 1 receives what it holds already: position 0");
}

TEST_F(MessageDamage, IntoABufferThatIsBeingSent) {
  nth<Exchange>(backward(2), 1).sends.push_back(nth<Exchange>(backward(2), 1).sends.at(1));
  nth<Exchange>(backward(1), 1).receives.push_back(nth<Exchange>(backward(1), 1).receives.at(1));
  nth<Exchange>(backward(1), 1).receives.at(1).buffer = 3;
  expect_fault("backward operation 5 (step 1): rank 1 receives into buffer 3, which is being sent");
}

TEST_F(MessageDamage, InAnotherOrder) {
  std::swap(nth<Exchange>(backward(1), 1).sends.at(0), nth<Exchange>(backward(1), 1).sends.at(1));
  expect_fault(
      "backward exchange 1: rank 1 sends dkv of positions [4-6) [10-12) to rank 0, which receives kv of positions [6-10)");
  expect_fault(
      "backward exchange 1: rank 1 sends kv of positions [6-10) to rank 0, which receives dkv of positions [4-6) [10-12)");
}

TEST_F(MessageDamage, ReceivedInSeveralRanges) {
  received(1, 0).rows = {{0, 2}, {2, 4}};
  expect_fault("forward operation 0 (step 0): rank 1 receives 2 ranges in one message");
}

TEST_F(MessageDamage, OfAPartOfTheSums) {
  nth<Exchange>(backward(1), 1).sends.at(1).rows = nth<Exchange>(backward(0), 1).receives.at(1).rows = {{0, 2}};
  expect_fault("backward operation 5 (step 1): rank 0 receives a part of buffer 5, which holds sums");
}

using ExchangeDamage = ScheduleDamage;

TEST_F(ExchangeDamage, OneLeftOutOnOneRank) {
  drop<Exchange>(forward(2), 1);
  expect_fault("forward: 3 of 4 ranks begin exchange 2");
}

TEST_F(ExchangeDamage, OneMoreOnOneRank) {
  append(backward(1), {3, Exchange{}});
  append(backward(1), {3, Wait{4}});
  expect_fault("backward: 1 of 4 ranks begin exchange 4");
}

TEST_F(ExchangeDamage, OneMoreOnAllRanksIsNoFault) {
  for (int rank = 0; rank < 4; ++rank) {
    append(backward(rank), {3, Exchange{}});
    append(backward(rank), {3, Wait{4}});
  }
  EXPECT_THAT(check_schedules(all_, {layout_, masks_}), IsEmpty());
}

TEST_F(ExchangeDamage, TwoSwappedOnOneRank) {
  std::swap(nth<Exchange>(forward(2), 1), nth<Exchange>(forward(2), 2));
  expect_fault("forward operation 5 (step 1): rank 2 sends: position 0 is not held");
  expect_fault(
      "forward exchange 1: rank 2 sends kv of positions [0-2) [14-16) to rank 3, which receives kv of positions [2-4) [12-14)");
}

using WaitDamage = ScheduleDamage;

TEST_F(WaitDamage, LeftOut) {
  drop<Wait>(forward(0), 2);
  expect_fault("rank 0 does not wait for exchange 2");
  expect_fault("forward operation 14 (step 3): rank 0 computes: position 2 is still arriving");
}

TEST_F(WaitDamage, OfAnExchangeWithoutMessages) {
  for (int rank = 0; rank < 4; ++rank) append(backward(rank), {3, Exchange{}});
  for (int rank = 1; rank < 4; ++rank) append(backward(rank), {3, Wait{4}});
  expect_fault("rank 0 does not wait for exchange 4");
}

TEST_F(WaitDamage, Twice) {
  twice<Wait>(forward(0), 1);
  expect_fault("forward operation 9 (step 1): rank 0 waits for exchange 1 twice");
}

TEST_F(WaitDamage, BeforeItsExchange) {
  bring(forward(0), place<Wait>(forward(0), 1), place<Exchange>(forward(0), 1));
  expect_fault("forward operation 5 (step 1): rank 0 waits for exchange 1, which has not begun");
}

TEST_F(WaitDamage, ForAnExchangeThatDoesNotExist) {
  for (const int exchange : {-1, 3}) {
    nth<Wait>(forward(0), 2).exchange = exchange;
    expect_fault("forward operation 13 (step 2): rank 0 waits for exchange " + std::to_string(exchange) +
                 ", which has not begun");
  }
}

TEST_F(WaitDamage, AfterTheLaunchThatReadsWhatArrives) {
  bring(forward(1), place<Merge>(forward(1), 1), place<Wait>(forward(1), 0));
  bring(forward(1), place<Launch>(forward(1), 1), place<Merge>(forward(1), 1));
  expect_fault("forward operation 3 (step 1): rank 1 computes: position 0 is still arriving");
}

TEST_F(WaitDamage, AfterTheMessageThatPassesOnWhatArrives) {
  bring(forward(1), place<Exchange>(forward(1), 1), place<Wait>(forward(1), 0));
  expect_fault("forward operation 3 (step 1): rank 1 sends: position 0 is still arriving");
}

TEST_F(WaitDamage, AfterTheMoveOfWhatArrives) {
  bring(backward(1), place<MoveRows>(backward(1), 0), place<Wait>(backward(1), 1));
  expect_fault("backward operation 8 (step 1): rank 1 moves: position 6 is still arriving");
}

TEST_F(WaitDamage, AfterTheLaunchThatReadsTheWholeSequence) {
  use(CpTransport::all_gather, 1, {{16, true}});
  bring(forward(1), place<Wait>(forward(1), 0), place<Merge>(forward(1), 1));
  expect_fault("rank 1 computes: position 0 is still arriving");
}

}  // namespace
}  // namespace ringtron

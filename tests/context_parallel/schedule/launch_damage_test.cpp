// Negative controls of schedule_check: each damage to moves, releases, launches and merges must be seen.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/context_parallel/schedule/schedule_damage.h"

namespace ringtron {
namespace {

using testing::append;
using testing::bring;
using testing::drop;
using testing::insert;
using testing::nth;
using testing::place;
using testing::ScheduleDamage;
using testing::twice;

using MoveDamage = ScheduleDamage;

TEST_F(MoveDamage, ToTheWrongRows) {
  nth<MoveRows>(backward(1), 0).moves = {{{0, 2}, 2}};
  expect_fault("backward operation 10 (step 1): rank 1 moves positions [6-8) to [8-10)");
}

TEST_F(MoveDamage, ToRowsThatDoNotExist) {
  nth<MoveRows>(backward(1), 0).moves = {{{0, 4}, 1}};
  expect_fault("backward operation 10 (step 1): rank 1 moves rows to rows [1-5) of buffer 6, which has 4");
  nth<MoveRows>(backward(1), 0).moves = {{{-1, 3}, 0}};
  expect_fault("backward operation 10 (step 1): rank 1 moves rows of rows [-1-3) of buffer 5, which has 4");
}

TEST_F(MoveDamage, LeftOut) {
  drop<MoveRows>(backward(1), 0);
  expect_fault("backward: rank 3, gradient of position 6: expected the parts of launches");
}

TEST_F(MoveDamage, LeftOutOfTheWholeSequence) {
  use(CpTransport::all_gather, 1, {{16, true}});
  drop<MoveRows>(backward(1), 0);
  expect_fault("rank 1 computes: position 2 is not held");
}

TEST_F(MoveDamage, Twice) {
  twice<MoveRows>(backward(1), 0);
  expect_fault("backward: rank 3, gradient of position 6: expected the parts of launches");
}

TEST_F(MoveDamage, ARowShort) {
  nth<MoveRows>(backward(1), 0).moves = {{{0, 3}, 0}};
  expect_fault("backward: rank 3, gradient of position 9: expected the parts of launches");
}

TEST_F(MoveDamage, ToABufferThatIsBeingSent) {
  insert(backward(1), 6, {1, MoveRows{1, 3, {{{0, 4}, 0}}}});
  expect_fault("backward operation 6 (step 1): rank 1 moves rows to buffer 3, which is being sent");
}

TEST_F(MoveDamage, ToWhereAMessageArrives) {
  insert(backward(1), 8, {1, MoveRows{6, 5, {{{0, 4}, 0}}}});
  expect_fault("backward operation 8 (step 1): rank 1 moves rows to where a message arrives: position 6");
}

TEST_F(MoveDamage, ToItself) {
  nth<MoveRows>(backward(1), 0).from = 6;
  expect_fault("backward operation 10 (step 1): rank 1 moves rows of buffer 6 to itself");
}

TEST_F(MoveDamage, OfKeysToGradients) {
  nth<MoveRows>(backward(1), 0).from = 2;
  expect_fault("backward operation 10 (step 1): rank 1 moves rows to buffer 6, which holds dkv");
}

TEST_F(MoveDamage, OfABufferThatDoesNotExist) {
  nth<MoveRows>(backward(1), 0).from = 17;
  expect_fault("backward operation 10 (step 1): rank 1 moves rows of buffer 17, which does not exist");
  nth<MoveRows>(backward(1), 0) = {5, 17, {{{0, 4}, 0}}};
  expect_fault("backward operation 10 (step 1): rank 1 moves rows to buffer 17, which does not exist");
}

using ReleaseDamage = ScheduleDamage;

TEST_F(ReleaseDamage, TooEarly) {
  bring(forward(1), place<Release>(forward(1), 1), place<Exchange>(forward(1), 1));
  expect_fault("forward operation 6 (step 1): rank 1 sends from buffer 1 after its release");
  expect_fault("forward operation 7 (step 1): rank 1 computes with buffer 1 after its release");
}

TEST_F(ReleaseDamage, WhileItIsBeingSent) {
  bring(forward(1), place<Release>(forward(1), 0), place<Wait>(forward(1), 0));
  expect_fault("forward operation 3 (step 0): rank 1 releases buffer 0 while a message reads it");
}

TEST_F(ReleaseDamage, OfSumsWhileTheyAreBeingSent) {
  bring(backward(1), place<Release>(backward(1), 1), place<Wait>(backward(1), 1));
  expect_fault("backward operation 8 (step 1): rank 1 releases buffer 3 while a message reads it");
}

TEST_F(ReleaseDamage, WhileItArrives) {
  insert(forward(1), 1, {0, Release{1}});
  expect_fault("forward operation 1 (step 0): rank 1 releases buffer 1 while a message writes it");
}

TEST_F(ReleaseDamage, Twice) {
  twice<Release>(forward(1), 0);
  expect_fault("forward operation 5 (step 0): rank 1 releases buffer 0 twice");
}

TEST_F(ReleaseDamage, BeforeTheMove) {
  bring(backward(1), place<Release>(backward(1), 2), place<MoveRows>(backward(1), 0));
  expect_fault("backward operation 11 (step 1): rank 1 moves rows of buffer 5 after its release");
}

TEST_F(ReleaseDamage, OfWhatIsToBeReceived) {
  insert(forward(1), 0, {-1, Release{1}});
  expect_fault("forward operation 1 (step 0): rank 1 receives into buffer 1 after its release");
}

TEST_F(ReleaseDamage, OfWhatIsSaved) {
  append(forward(1), {3, Release{3}});
  expect_fault("rank 1 saves buffer 3 after its release");
}

TEST_F(ReleaseDamage, OfTheResult) {
  append(backward(1), {3, Release{1}});
  expect_fault("rank 1 ends with buffer 1 after its release");
}

TEST_F(ReleaseDamage, OfABufferThatDoesNotExist) {
  append(forward(1), {3, Release{4}});
  expect_fault("forward operation 17 (step 3): rank 1 releases buffer 4, which does not exist");
}

TEST_F(ReleaseDamage, LeftOut) {
  drop<Release>(forward(0), 1);
  expect_fault("rank 0 holds up to 12 rows of others and 0 of gradients, and promises 8 and 0");
}

using LaunchDamage = ScheduleDamage;

TEST_F(LaunchDamage, LeftOut) {
  drop<Launch>(backward(3), 3);
  drop<Merge>(backward(3), 3);
  expect_fault("backward: query 8 of sample 0: expected keys [0-9), got");
}

TEST_F(LaunchDamage, Twice) {
  append(forward(0), {3, nth<Launch>(forward(0), 3)});
  append(forward(0), {3, Merge{4}});
  expect_fault("forward: query 14 of sample 0: expected keys [0-15), got");
}

TEST_F(LaunchDamage, ABandOneWider) {
  nth<Launch>(forward(1), 0).band.right = 1;
  expect_fault("forward: query 2 of sample 0: expected keys [0-3), got [0-2) [2-4)");
}

TEST_F(LaunchDamage, ABandOneNarrower) {
  use(CpTransport::p2p, 1, {{16, true, {2, -1}}});
  nth<Launch>(forward(3), 0).band.left -= 1;
  expect_fault("forward: query 8 of sample 0: expected keys [6-9), got [7-9)");
}

TEST_F(LaunchDamage, KeysShifted) {
  nth<Launch>(forward(1), 1).kv = {1, 3};
  expect_fault("forward: query 2 of sample 0: expected keys [0-3), got [1-2) [2-3) [14-15)");
}

TEST_F(LaunchDamage, QueriesShifted) {
  nth<Launch>(forward(0), 1).q = {1, 3};
  expect_fault("forward: query 1 of sample 0: expected keys [0-2), got [0-2) [6-10)");
}

TEST_F(LaunchDamage, QueriesThatDoNotExist) {
  nth<Launch>(forward(1), 1).q = {1, 5};
  expect_fault("forward operation 6 (step 1): rank 1 computes what does not exist: q [1-5) x rows [0-2) of buffer 1, sample -1");
}

TEST_F(LaunchDamage, KeysThatDoNotExist) {
  nth<Launch>(forward(1), 1).kv = {0, 5};
  expect_fault("forward operation 6 (step 1): rank 1 computes with rows [0-5) of buffer 1, which has 4");
}

TEST_F(LaunchDamage, OfNothing) {
  nth<Launch>(forward(1), 1).kv = {1, 1};
  expect_fault("forward operation 6 (step 1): rank 1 computes what does not exist");
}

TEST_F(LaunchDamage, AnotherSample) {
  use(CpTransport::p2p, 1, {{16, true, {}, {5}}, {16, true, {}, {9}}});
  nth<Launch>(forward(0), 0).sample = 1;
  expect_fault("forward: query 0 of sample 0: expected keys [0-1), got none");
  nth<Launch>(forward(0), 0).sample = 2;
  expect_fault("rank 0 computes what does not exist: q [0-2) x rows [0-2) of buffer 0, sample 2");
}

TEST_F(LaunchDamage, OneSampleOfAll) {
  nth<Launch>(forward(1), 1).sample = 0;
  expect_fault("rank 1 computes what does not exist: q [0-4) x rows [0-2) of buffer 1, sample 0");
}

TEST_F(LaunchDamage, WithAnotherBuffer) {
  nth<Launch>(forward(1), 3).buffer = 1;
  expect_fault("forward operation 15 (step 3): rank 1 computes with buffer 1 after its release");
  nth<Launch>(forward(1), 3).buffer = -1;
  expect_fault("forward operation 15 (step 3): rank 1 computes with buffer -1, which does not exist");
  nth<Launch>(backward(1), 1).buffer = 1;
  expect_fault("backward operation 6 (step 1): rank 1 computes with buffer 1, which holds dkv");
}

using MergeDamage = ScheduleDamage;

TEST_F(MergeDamage, LeftOut) {
  drop<Merge>(forward(2), 1);
  expect_fault("rank 2 merges launch 1 0 times");
  expect_fault("forward: query 4 of sample 0: expected keys [0-5), got");
}

TEST_F(MergeDamage, LeftOutOfABackward) {
  drop<Merge>(backward(1), 1);
  expect_fault("rank 1 merges launch 1 0 times");
  expect_fault("backward: rank 3, gradient of position 6: expected the parts of launches");
}

TEST_F(MergeDamage, Twice) {
  twice<Merge>(forward(2), 1);
  expect_fault("rank 2 merges launch 1 2 times");
  expect_fault("forward: query 4 of sample 0: expected keys [0-5), got");
}

TEST_F(MergeDamage, TwiceInABackward) {
  twice<Merge>(backward(1), 1);
  expect_fault("rank 1 merges launch 1 2 times");
  expect_fault("backward: rank 3, gradient of position 6: expected the parts of launches");
}

TEST_F(MergeDamage, BeforeItsLaunch) {
  bring(forward(2), place<Merge>(forward(2), 0), place<Launch>(forward(2), 0));
  expect_fault("forward operation 1 (step 0): rank 2 merges launch 0, which has not begun");
}

TEST_F(MergeDamage, OfAnotherLaunch) {
  nth<Merge>(forward(2), 1).launch = 0;
  expect_fault("rank 2 merges launch 0 2 times");
  expect_fault("rank 2 merges launch 1 0 times");
}

TEST_F(MergeDamage, IntoOtherRows) {
  nth<Merge>(backward(1), 2).rows = {1, 3};
  expect_fault("rank 1 adds the gradients of positions [0-2) to those of [1-2) [14-15)");
}

TEST_F(MergeDamage, IntoFewerRows) {
  nth<Merge>(backward(1), 2).rows = {0, 1};
  expect_fault("rank 1 adds the gradients of positions [0-2) to those of [0-1)");
}

TEST_F(MergeDamage, IntoAnotherRanksSums) {
  nth<Merge>(backward(1), 1).gradient = 1;
  expect_fault("rank 1 adds the gradients of positions [6-10) to those of [2-4) [12-14)");
}

TEST_F(MergeDamage, IntoABufferThatIsBeingSent) {
  nth<Merge>(backward(1), 1).gradient = 3;
  expect_fault("backward operation 7 (step 1): rank 1 adds to buffer 3, which is being sent");
}

TEST_F(MergeDamage, IntoKeysAndValues) {
  nth<Merge>(backward(1), 1).gradient = 2;
  expect_fault("backward operation 7 (step 1): rank 1 adds to buffer 2, which holds kv");
}

TEST_F(MergeDamage, WithoutAGradientBuffer) {
  nth<Merge>(backward(1), 1).gradient = -1;
  expect_fault("backward operation 7 (step 1): rank 1 adds to buffer -1, which does not exist");
}

TEST_F(MergeDamage, WithAGradientBufferInAForward) {
  nth<Merge>(forward(1), 1).gradient = 1;
  expect_fault("forward operation 7 (step 1): rank 1 has gradients of launch 1");
}

}  // namespace
}  // namespace ringtron

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

struct Damage {
  const char* name;
  void (*make)(ScheduleDamage& s);
  std::vector<std::string> faults;  // that must be seen
};

class EachDamage : public ScheduleDamage, public ::testing::WithParamInterface<Damage> {};

TEST_P(EachDamage, IsSeen) {
  GetParam().make(*this);
  for (const std::string& fault : GetParam().faults) expect_fault(fault);
}

const Damage kMoves[] = {
    {"ToTheWrongRows",
     [](ScheduleDamage& s) { nth<MoveRows>(s.backward(1), 0).moves = {{{0, 2}, 2}}; },
     {"backward operation 10 (step 1): rank 1 moves positions [6-8) to [8-10)"}},
    {"ToRowsThatDoNotExist",
     [](ScheduleDamage& s) { nth<MoveRows>(s.backward(1), 0).moves = {{{0, 4}, 1}}; },
     {"backward operation 10 (step 1): rank 1 moves rows to rows [1-5) of buffer 6, which has 4"}},
    {"OfRowsThatDoNotExist",
     [](ScheduleDamage& s) { nth<MoveRows>(s.backward(1), 0).moves = {{{-1, 3}, 0}}; },
     {"backward operation 10 (step 1): rank 1 moves rows of rows [-1-3) of buffer 5, which has 4"}},
    {"LeftOut",
     [](ScheduleDamage& s) { drop<MoveRows>(s.backward(1), 0); },
     {"backward: rank 3, gradient of position 6: expected the parts of launches"}},
    {"LeftOutOfTheWholeSequence",
     [](ScheduleDamage& s) {
       s.use(CpTransport::all_gather, 1, {{16, true}});
       drop<MoveRows>(s.backward(1), 0);
     },
     {"rank 1 computes: position 2 is not held"}},
    {"Twice",
     [](ScheduleDamage& s) { twice<MoveRows>(s.backward(1), 0); },
     {"backward: rank 3, gradient of position 6: expected the parts of launches"}},
    {"ARowShort",
     [](ScheduleDamage& s) { nth<MoveRows>(s.backward(1), 0).moves = {{{0, 3}, 0}}; },
     {"backward: rank 3, gradient of position 9: expected the parts of launches"}},
    {"ToABufferThatIsBeingSent",
     [](ScheduleDamage& s) { insert(s.backward(1), 6, {1, MoveRows{1, 3, {{{0, 4}, 0}}}}); },
     {"backward operation 6 (step 1): rank 1 moves rows to buffer 3, which is being sent"}},
    {"ToWhereAMessageArrives",
     [](ScheduleDamage& s) { insert(s.backward(1), 8, {1, MoveRows{6, 5, {{{0, 4}, 0}}}}); },
     {"backward operation 8 (step 1): rank 1 moves rows to where a message arrives: position 6"}},
    {"ToItself",
     [](ScheduleDamage& s) { nth<MoveRows>(s.backward(1), 0).from = 6; },
     {"backward operation 10 (step 1): rank 1 moves rows of buffer 6 to itself"}},
    {"OfKeysToGradients",
     [](ScheduleDamage& s) { nth<MoveRows>(s.backward(1), 0).from = 2; },
     {"backward operation 10 (step 1): rank 1 moves rows to buffer 6, which holds dkv"}},
    {"OfABufferThatDoesNotExist",
     [](ScheduleDamage& s) { nth<MoveRows>(s.backward(1), 0).from = 17; },
     {"backward operation 10 (step 1): rank 1 moves rows of buffer 17, which does not exist"}},
    {"ToABufferThatDoesNotExist",
     [](ScheduleDamage& s) { nth<MoveRows>(s.backward(1), 0) = {5, 17, {{{0, 4}, 0}}}; },
     {"backward operation 10 (step 1): rank 1 moves rows to buffer 17, which does not exist"}},
};
INSTANTIATE_TEST_SUITE_P(Moves, EachDamage, ::testing::ValuesIn(kMoves),
                         [](const auto& info) { return std::string(info.param.name); });

const Damage kReleases[] = {
    {"TooEarly",
     [](ScheduleDamage& s) { bring(s.forward(1), place<Release>(s.forward(1), 1), place<Exchange>(s.forward(1), 1)); },
     {"forward operation 6 (step 1): rank 1 sends from buffer 1 after its release",
      "forward operation 7 (step 1): rank 1 computes with buffer 1 after its release"}},
    {"WhileItIsBeingSent",
     [](ScheduleDamage& s) { bring(s.forward(1), place<Release>(s.forward(1), 0), place<Wait>(s.forward(1), 0)); },
     {"forward operation 3 (step 0): rank 1 releases buffer 0 while a message reads it"}},
    {"OfSumsWhileTheyAreBeingSent",
     [](ScheduleDamage& s) { bring(s.backward(1), place<Release>(s.backward(1), 1), place<Wait>(s.backward(1), 1)); },
     {"backward operation 8 (step 1): rank 1 releases buffer 3 while a message reads it"}},
    {"WhileItArrives",
     [](ScheduleDamage& s) { insert(s.forward(1), 1, {0, Release{1}}); },
     {"forward operation 1 (step 0): rank 1 releases buffer 1 while a message writes it"}},
    {"Twice",
     [](ScheduleDamage& s) { twice<Release>(s.forward(1), 0); },
     {"forward operation 5 (step 0): rank 1 releases buffer 0 twice"}},
    {"BeforeTheMove",
     [](ScheduleDamage& s) {
       bring(s.backward(1), place<Release>(s.backward(1), 2), place<MoveRows>(s.backward(1), 0));
     },
     {"backward operation 11 (step 1): rank 1 moves rows of buffer 5 after its release"}},
    {"OfWhatIsToBeReceived",
     [](ScheduleDamage& s) { insert(s.forward(1), 0, {-1, Release{1}}); },
     {"forward operation 1 (step 0): rank 1 receives into buffer 1 after its release"}},
    {"OfWhatIsSaved",
     [](ScheduleDamage& s) { append(s.forward(1), {3, Release{3}}); },
     {"rank 1 saves buffer 3 after its release"}},
    {"OfTheResult",
     [](ScheduleDamage& s) { append(s.backward(1), {3, Release{1}}); },
     {"rank 1 ends with buffer 1 after its release"}},
    {"OfABufferThatDoesNotExist",
     [](ScheduleDamage& s) { append(s.forward(1), {3, Release{4}}); },
     {"forward operation 17 (step 3): rank 1 releases buffer 4, which does not exist"}},
    {"LeftOut",
     [](ScheduleDamage& s) { drop<Release>(s.forward(0), 1); },
     {"rank 0 holds up to 12 rows of others and 0 of gradients, and promises 8 and 0"}},
};
INSTANTIATE_TEST_SUITE_P(Releases, EachDamage, ::testing::ValuesIn(kReleases),
                         [](const auto& info) { return std::string(info.param.name); });

const Damage kLaunchs[] = {
    {"LeftOut",
     [](ScheduleDamage& s) {
       drop<Launch>(s.backward(3), 3);
       drop<Merge>(s.backward(3), 3);
     },
     {"backward: query 8 of sample 0: expected keys [0-9), got"}},
    {"Twice",
     [](ScheduleDamage& s) {
       append(s.forward(0), {3, nth<Launch>(s.forward(0), 3)});
       append(s.forward(0), {3, Merge{4}});
     },
     {"forward: query 14 of sample 0: expected keys [0-15), got"}},
    {"ABandOneWider",
     [](ScheduleDamage& s) { nth<Launch>(s.forward(1), 0).band.right = 1; },
     {"forward: query 2 of sample 0: expected keys [0-3), got [0-2) [2-4)"}},
    {"ABandOneNarrower",
     [](ScheduleDamage& s) {
       s.use(CpTransport::p2p, 1, {{16, true, {2, -1}}});
       nth<Launch>(s.forward(3), 0).band.left -= 1;
     },
     {"forward: query 8 of sample 0: expected keys [6-9), got [7-9)"}},
    {"KeysShifted",
     [](ScheduleDamage& s) { nth<Launch>(s.forward(1), 1).kv = {1, 3}; },
     {"forward: query 2 of sample 0: expected keys [0-3), got [1-2) [2-3) [14-15)"}},
    {"QueriesShifted",
     [](ScheduleDamage& s) { nth<Launch>(s.forward(0), 1).q = {1, 3}; },
     {"forward: query 1 of sample 0: expected keys [0-2), got [0-2) [6-10)"}},
    {"QueriesThatDoNotExist",
     [](ScheduleDamage& s) { nth<Launch>(s.forward(1), 1).q = {1, 5}; },
     {"forward operation 6 (step 1): rank 1 computes what does not exist: q [1-5) x rows [0-2) of buffer 1, "
      "sample -1"}},
    {"KeysThatDoNotExist",
     [](ScheduleDamage& s) { nth<Launch>(s.forward(1), 1).kv = {0, 5}; },
     {"forward operation 6 (step 1): rank 1 computes with rows [0-5) of buffer 1, which has 4"}},
    {"OfNothing",
     [](ScheduleDamage& s) { nth<Launch>(s.forward(1), 1).kv = {1, 1}; },
     {"forward operation 6 (step 1): rank 1 computes what does not exist"}},
    {"AnotherSample",
     [](ScheduleDamage& s) {
       s.use(CpTransport::p2p, 1, {{16, true, {}, {5}}, {16, true, {}, {9}}});
       nth<Launch>(s.forward(0), 0).sample = 1;
     },
     {"forward: query 0 of sample 0: expected keys [0-1), got none"}},
    {"ASampleThatDoesNotExist",
     [](ScheduleDamage& s) {
       s.use(CpTransport::p2p, 1, {{16, true, {}, {5}}, {16, true, {}, {9}}});
       nth<Launch>(s.forward(0), 0).sample = 2;
     },
     {"rank 0 computes what does not exist: q [0-2) x rows [0-2) of buffer 0, sample 2"}},
    {"OneSampleOfAll",
     [](ScheduleDamage& s) { nth<Launch>(s.forward(1), 1).sample = 0; },
     {"rank 1 computes what does not exist: q [0-4) x rows [0-2) of buffer 1, sample 0"}},
    {"WithAnotherBuffer",
     [](ScheduleDamage& s) { nth<Launch>(s.forward(1), 3).buffer = 1; },
     {"forward operation 15 (step 3): rank 1 computes with buffer 1 after its release"}},
    {"WithABufferThatDoesNotExist",
     [](ScheduleDamage& s) { nth<Launch>(s.forward(1), 3).buffer = -1; },
     {"forward operation 15 (step 3): rank 1 computes with buffer -1, which does not exist"}},
    {"WithABufferOfGradients",
     [](ScheduleDamage& s) { nth<Launch>(s.backward(1), 1).buffer = 1; },
     {"backward operation 6 (step 1): rank 1 computes with buffer 1, which holds dkv"}},
};
INSTANTIATE_TEST_SUITE_P(Launchs, EachDamage, ::testing::ValuesIn(kLaunchs),
                         [](const auto& info) { return std::string(info.param.name); });

const Damage kMerges[] = {
    {"LeftOut",
     [](ScheduleDamage& s) { drop<Merge>(s.forward(2), 1); },
     {"rank 2 merges launch 1 0 times", "forward: query 4 of sample 0: expected keys [0-5), got"}},
    {"LeftOutOfABackward",
     [](ScheduleDamage& s) { drop<Merge>(s.backward(1), 1); },
     {"rank 1 merges launch 1 0 times", "backward: rank 3, gradient of position 6: expected the parts of launches"}},
    {"Twice",
     [](ScheduleDamage& s) { twice<Merge>(s.forward(2), 1); },
     {"rank 2 merges launch 1 2 times", "forward: query 4 of sample 0: expected keys [0-5), got"}},
    {"TwiceInABackward",
     [](ScheduleDamage& s) { twice<Merge>(s.backward(1), 1); },
     {"rank 1 merges launch 1 2 times", "backward: rank 3, gradient of position 6: expected the parts of launches"}},
    {"BeforeItsLaunch",
     [](ScheduleDamage& s) { bring(s.forward(2), place<Merge>(s.forward(2), 0), place<Launch>(s.forward(2), 0)); },
     {"forward operation 1 (step 0): rank 2 merges launch 0, which has not begun"}},
    {"OfAnotherLaunch",
     [](ScheduleDamage& s) { nth<Merge>(s.forward(2), 1).launch = 0; },
     {"rank 2 merges launch 0 2 times", "rank 2 merges launch 1 0 times"}},
    {"IntoOtherRows",
     [](ScheduleDamage& s) { nth<Merge>(s.backward(1), 2).rows = {1, 3}; },
     {"rank 1 adds the gradients of positions [0-2) to those of [1-2) [14-15)"}},
    {"IntoFewerRows",
     [](ScheduleDamage& s) { nth<Merge>(s.backward(1), 2).rows = {0, 1}; },
     {"rank 1 adds the gradients of positions [0-2) to those of [0-1)"}},
    {"IntoAnotherRanksSums",
     [](ScheduleDamage& s) { nth<Merge>(s.backward(1), 1).gradient = 1; },
     {"rank 1 adds the gradients of positions [6-10) to those of [2-4) [12-14)"}},
    {"IntoABufferThatIsBeingSent",
     [](ScheduleDamage& s) { nth<Merge>(s.backward(1), 1).gradient = 3; },
     {"backward operation 7 (step 1): rank 1 adds to buffer 3, which is being sent"}},
    {"IntoKeysAndValues",
     [](ScheduleDamage& s) { nth<Merge>(s.backward(1), 1).gradient = 2; },
     {"backward operation 7 (step 1): rank 1 adds to buffer 2, which holds kv"}},
    {"WithoutAGradientBuffer",
     [](ScheduleDamage& s) { nth<Merge>(s.backward(1), 1).gradient = -1; },
     {"backward operation 7 (step 1): rank 1 adds to buffer -1, which does not exist"}},
    {"WithAGradientBufferInAForward",
     [](ScheduleDamage& s) { nth<Merge>(s.forward(1), 1).gradient = 1; },
     {"forward operation 7 (step 1): rank 1 has gradients of launch 1"}},
};
INSTANTIATE_TEST_SUITE_P(Merges, EachDamage, ::testing::ValuesIn(kMerges),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace ringtron

// What one rank knows, all ranks act on.
#include "ringtron/train/agreement.h"

#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "ringtron/comm/decorators/counting_communicator.h"
#include "tests/train/toy_training.h"

namespace ringtron::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// What `action` throws as an Error; "" and a failed expectation if it throws nothing or something else.
template <class Error, class Action>
std::string message_of(Action action, bool& reported_elsewhere) {
  try {
    action();
    ADD_FAILURE() << "expected an error";
  } catch (const Error& e) {
    reported_elsewhere = dynamic_cast<const ReportedElsewhere*>(&e) != nullptr;
    return e.what();
  } catch (const std::exception& e) {
    ADD_FAILURE() << "expected another kind of error, got: " << e.what();
  }
  return "";
}

DIST_TEST(Agreement, TextsOfUnequalLengthArriveInRankOrder, 1, 2, 4) {
  // Rank 0's is empty, the others' hold bytes of every kind.
  const auto text_of = [](int rank) {
    return std::string(static_cast<std::size_t>(rank * 37), '\0') + std::string(rank, '\xff');
  };
  const auto texts = gather_texts(ranks.world(), text_of(ranks.rank()));
  ASSERT_EQ(texts.size(), static_cast<std::size_t>(ranks.size()));
  for (int r = 0; r < ranks.size(); ++r) EXPECT_EQ(texts[r], text_of(r));
}

DIST_TEST(Agreement, LargestValueWins, 1, 2, 4) {
  EXPECT_EQ(agree_max(ranks.world(), -5 - ranks.rank()), -5);
  const std::int64_t large = std::int64_t{1} << 60;
  EXPECT_EQ(agree_max(ranks.world(), large + ranks.rank()), large + ranks.size() - 1);
}

DIST_TEST(Agreement, TogetherReturnsWhenAllSucceed, 1, 4) {
  int done = 0;
  EXPECT_NO_THROW(run_collectively(ranks.world(), [&] { ++done; }));
  EXPECT_EQ(done, 1);
}

template <class Error>
void expect_failure_on_all(RankContext& ranks) {
  const int culprit = ranks.size() - 1;
  bool reported = false;
  const std::string message = message_of<Error>(
      [&] {
        run_collectively(ranks.world(), [&] {
          if (ranks.rank() == culprit) throw Error("the disk is on fire");
        });
      },
      reported);
  EXPECT_THAT(message, HasSubstr("the disk is on fire"));
  EXPECT_THAT(message, HasSubstr(fmt::format("rank {}", culprit)));
  EXPECT_EQ(reported, ranks.rank() != culprit);  // it is printed once
}

DIST_TEST(Agreement, OneRanksErrorIsOfTheSameKindOnAll, 1, 2, 4) {
  expect_failure_on_all<IoError>(ranks);
  expect_failure_on_all<ConfigError>(ranks);
}

DIST_TEST(Agreement, TheFirstOfSeveralFailedRanksReports, 4) {
  bool reported = false;
  const std::string message = message_of<ConfigError>(
      [&] {
        run_collectively(ranks.world(), [&] {
          if (ranks.rank() == 1) throw ConfigError("fault of one");
          if (ranks.rank() == 3) throw IoError("fault of three");
        });
      },
      reported);
  EXPECT_THAT(message, HasSubstr("rank 1: fault of one"));
  EXPECT_THAT(message, Not(HasSubstr("three")));
  EXPECT_EQ(reported, ranks.rank() != 1);
}

// Data for the next step and reasons not to take it: one agreement, however it ends.
DIST_TEST(Agreement, AReasonToStopWinsOverWhatFailed, 1, 2, 4) {
  CountingCommunicator world(ranks.world());
  const int last = ranks.size() - 1;
  const auto no_reason = [] { return std::int64_t{0}; };
  const auto nothing = [] {};
  EXPECT_EQ(run_collectively_unless(world, no_reason, nothing), 0);
  EXPECT_EQ(run_collectively_unless(world, [&] { return std::int64_t{ranks.rank() == last ? 31 : 5}; }, nothing), 31);
  // A reason that comes while the action runs, and one that is there before it: then it does not begin.
  std::int64_t late = 0;
  const auto fail_on_first = [&] {
    if (ranks.rank() == 0) throw IoError("the disk is on fire");
    if (ranks.rank() == last) late = 7;
  };
  if (last > 0) {
    EXPECT_EQ(run_collectively_unless(world, [&] { return late; }, fail_on_first), 7);
  }
  bool begun = false;
  EXPECT_EQ(run_collectively_unless(
                world, [] { return std::int64_t{1} << 59; }, [&] { begun = true; }),
            std::int64_t{1} << 59);
  EXPECT_FALSE(begun);
  const CommunicationCounts counts = world.counts();
  EXPECT_EQ(counts.all_reduce.calls, ranks.size() == 1 ? 0 : 4);
  EXPECT_EQ(counts.all_gather.calls, 0);
  EXPECT_THROW(run_collectively_unless(world, no_reason, [] { throw IoError("the disk is on fire"); }), IoError);
}

DIST_TEST(Agreement, EqualOptionsPass, 1, 2, 4) {
  EXPECT_NO_THROW(require_same_options(ranks.world(), "lr=0.1\nseed=5\n"));
}

DIST_TEST(Agreement, OtherOptionsOnOneRankAreNamed, 2, 4) {
  const int odd = ranks.size() - 1;
  bool reported = false;
  const std::string text = ranks.rank() == odd ? "lr=0.2\nseed=5\nextra=1" : "lr=0.1\nseed=5\nlost=2";
  const std::string message = message_of<ConfigError>([&] { require_same_options(ranks.world(), text); }, reported);
  EXPECT_THAT(message, HasSubstr(fmt::format("rank {}:", odd)));
  EXPECT_THAT(message, HasSubstr("lr: 0.1 on rank 0, 0.2 there"));
  EXPECT_THAT(message, HasSubstr("lost: 2 on rank 0, absent there"));
  EXPECT_THAT(message, HasSubstr("extra: absent on rank 0, 1 there"));
  EXPECT_THAT(message, Not(HasSubstr("seed")));
  EXPECT_EQ(reported, ranks.rank() != 0);
}

// The same through the whole start of a run, from command lines.
DIST_TEST(Agreement, RunWithOtherFlagsOnOneRankDoesNotStart, 2) {
  const SharedFolder folder(ranks);
  const Config config =
      toy_config({1, 1, 2, false, 1}, folder.corpus(), ranks.rank() == 1 ? "--seed 4321" : "--seed 1234");
  bool reported = false;
  const std::string message = message_of<ConfigError>([&] { ToyTraining(ranks, 0, config); }, reported);
  EXPECT_THAT(message, HasSubstr("seed: 1234 on rank 0, 4321 there"));
  EXPECT_THAT(message, HasSubstr("rank 1:"));
}

}  // namespace
}  // namespace ringtron::testing

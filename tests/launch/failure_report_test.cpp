// Who is to blame when several ranks fail, and how it is said.
#include "ringtron/launch/failure_report.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <vector>

namespace ringtron {
namespace {

const RankFailure kConsequence = {
    .rank = 0, .pid = 10, .exit_code = 1, .words = "pretrain_gpt: communication failed: rank 2 is gone"};
const RankFailure kOwnFault = {.rank = 1, .pid = 11, .exit_code = 1, .words = "pretrain_gpt: disk full"};
const RankFailure kKilled = {.rank = 2, .pid = 12, .signal = SIGKILL, .words = {}};

std::size_t blamed(const std::vector<RankFailure>& failures) { return first_cause(failures); }

TEST(FailureReport, KilledRankIsNamedThoughSeenLast) {
  EXPECT_EQ(blamed({kConsequence, kOwnFault, kKilled}), 2u);
  EXPECT_EQ(blamed({kConsequence, kOwnFault}), 1u);
  EXPECT_EQ(blamed({kOwnFault, kOwnFault}), 0u);
  EXPECT_EQ(blamed({kConsequence, kConsequence}), 0u);
}

// All ranks end for one reason, and one of them says which.
TEST(FailureReport, WhoSaysWhyComesBeforeWhoIsSilent) {
  const std::vector<RankFailure> failures = {{.rank = 1, .exit_code = 2},
                                             {.rank = 3, .exit_code = 2, .words = "some notice"},
                                             {.rank = 0, .exit_code = 2, .words = "x: expected another flag"},
                                             {.rank = 2, .exit_code = 2}};
  EXPECT_EQ(first_cause(failures), 2u);
  EXPECT_TRUE(is_unclear(failures[0]));
  EXPECT_TRUE(is_unclear(failures[1]));
  EXPECT_FALSE(is_unclear(failures[2]));
  EXPECT_FALSE(is_unclear({.signal = 9}));
  EXPECT_EQ(blamed({failures[0], failures[1]}), 1u);
}

TEST(FailureReport, Words) {
  EXPECT_EQ(describe(kOwnFault), "rank 1 (pid 11) ended with exit code 1");
  EXPECT_NE(describe(kKilled).find("rank 2 (pid 12) was killed by SIGKILL"), std::string::npos);
  EXPECT_EQ(shell_exit_code(kKilled), 137);
  EXPECT_EQ(shell_exit_code(kOwnFault), 1);
  EXPECT_EQ(signal_text(1000), "signal 1000");
  EXPECT_EQ(words_of(kOwnFault), std::vector<std::string>{"its last line on stderr: pretrain_gpt: disk full"});
  EXPECT_EQ(words_of({.exit_code = 2, .words = "x: 2 faults:\n  1. this\n  2. that"}),
            (std::vector<std::string>{"its last lines on stderr:", "x: 2 faults:", "  1. this", "  2. that"}));
  EXPECT_TRUE(words_of(kKilled).empty());
}

}  // namespace
}  // namespace ringtron

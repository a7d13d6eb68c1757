// Who hangs, from what those that waited say.
#include "ringtron/launch/hang_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <vector>

namespace ringtron {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

RankFailure waited(int rank, const std::string& text) {
  return {.rank = rank, .pid = 100 + rank, .exit_code = 1, .words = "pretrain_gpt: communication failed: " + text};
}

RankFailure in_group(int rank, const std::string& group, const std::string& ranks, const std::string& peer = "") {
  return waited(rank, group + "-parallel group (ranks " + ranks + "): all_reduce number 7 failed on rank " +
                          std::to_string(rank) + peer + ": no rank is known to have died; timeout 6000 ms [Timed out]");
}

std::string frozen(const std::vector<RankFailure>& failures, const std::vector<SilentRank>& silent) {
  return describe_hang(failures, silent, {.log = "iteration 3/9"}).value_or("nobody");
}

TEST(HangReport, ReadsWhomARankWaitedFor) {
  const ReportedWait group = read_wait(in_group(0, "tensor", "0,2,4"));
  EXPECT_EQ(group.operation, "all_reduce number 7 of the tensor-parallel group (ranks 0,2,4)");
  EXPECT_THAT(group.waited_for, ElementsAre(2, 4));
  EXPECT_THAT(read_wait(in_group(0, "tensor", "0,2,4", ", waiting for rank 4")).waited_for, ElementsAre(4));
  EXPECT_THAT(read_wait(waited(0, "rendezvous: expected 4 ranks within 6 s, rank(s) 1, 3 never came; this is rank 0"))
                  .waited_for,
              ElementsAre(1, 3));
  EXPECT_THAT(read_wait(waited(2, "rendezvous: rank 2 waited 6 s for the store of rank 0 at x:1, which did not come"))
                  .waited_for,
              ElementsAre(0));
  EXPECT_TRUE(read_wait(waited(2, "something else")).waited_for.empty());
}

TEST(HangReport, OnlyARankThatWaitedInVainPointsAtOneThatHangs) {
  EXPECT_TRUE(waited_in_vain(in_group(0, "tensor", "0,1")));
  EXPECT_FALSE(waited_in_vain(waited(0, "tensor group (ranks 0,1): rank 1 died [connection closed]")));
  EXPECT_FALSE(waited_in_vain({.rank = 0, .exit_code = 1, .words = "x: timeout must be positive"}));
}

// Ranks 0 to 3: tensor groups 0,1 and 2,3; data groups 0,2 and 1,3. Rank 3 hangs; 2 and 1 wait for it, 0 for 1 or 2.
TEST(HangReport, VictimsOfVictims) {
  const std::vector<RankFailure> failures = {in_group(0, "data", "0,2"), in_group(2, "tensor", "2,3"),
                                             in_group(1, "data", "1,3")};
  const std::string text = frozen(failures, {{3, 103, false, 'S'}});
  EXPECT_THAT(text, StartsWith("rank 3 (pid 103) froze: it is alive"));
  EXPECT_THAT(text, HasSubstr("rank 2 waited for it in all_reduce number 7 of the tensor-parallel group (ranks 2,3)"));
  EXPECT_THAT(text, HasSubstr("rank 1 waited for it in"));
  EXPECT_THAT(text, HasSubstr("rank 0 waited for ranks that waited"));
  EXPECT_THAT(text, HasSubstr("iteration 3/9"));
}

TEST(HangReport, AmongSeveralThatAreSilent) {
  const std::vector<RankFailure> failures = {in_group(0, "tensor", "0,1"), in_group(3, "data", "1,3"),
                                             in_group(4, "context", "4,5")};
  EXPECT_THAT(frozen(failures, {{1, 101, false, 'R'}, {5, 105, false, 'S'}}),
              StartsWith("rank 1 (pid 101) froze: it is alive and computes"));
  EXPECT_THAT(frozen(failures, {{1, 101, false, 'S'}, {5, 105, true, 'T'}}),
              StartsWith("rank 5 (pid 105) froze: it is stopped"));
  EXPECT_THAT(frozen(failures, {{2, 102, false, 'D'}}), HasSubstr("hangs in the kernel"));
  EXPECT_EQ(frozen(failures, {}), "nobody");
}

// The cable between two hosts is cut: each side knows of its own ranks only, and what is silent here may have waited.
TEST(HangReport, WithOtherNodes) {
  const auto said = [](const std::vector<RankFailure>& failures, const std::vector<SilentRank>& silent) {
    return describe_hang(failures, silent, {.other_nodes = true}).value_or("nobody");
  };
  const RankFailure there = in_group(0, "context", "0,1,2,3", ", waiting for rank 3");
  EXPECT_EQ(said({there}, {{1, 101, false, 'R'}}), "nobody");
  EXPECT_THAT(said({there}, {{1, 101, true, 'T'}}), StartsWith("rank 1 (pid 101) froze: it is stopped"));
  const RankFailure all = in_group(0, "context", "0,1,2,3");
  EXPECT_THAT(said({all}, {{1, 101, false, 'R'}}), HasSubstr("it may have waited for a rank of another node"));
  EXPECT_THAT(said({all}, {{1, 101, true, 'T'}}), ::testing::Not(HasSubstr("another node")));
}

TEST(HangReport, StateOfAProcess) {
  EXPECT_EQ(process_state(::getpid()), 'R');
  EXPECT_EQ(process_state(-1), '?');
}

}  // namespace
}  // namespace ringtron

// A rank that is killed inside a hop of the ring: the others get a CommError that names the group and the
// rank.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "ringtron/comm/faulty_communicator.h"
#include "ringtron/comm/make_communicator.h"
#include "tests/context_parallel/attention_case.h"
#include "tests/support/multi_rank.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// `victim` dies at its exchange number `operation`; of four ranks, 1-3 are forward hops and 4-7 backward
// ones.
void kill_at(testing::RankContext& ranks, int victim, int operation) {
  const auto group = make_communicator(Backend::gloo, "context-parallel", {0, 1, 2, 3}, ranks.rendezvous());
  std::vector<ScriptedFault> script;
  if (ranks.rank() == victim) {
    script.push_back({.operation = operation, .fault = Fault::kill});
    ranks.announce_death();
  }
  FaultyCommunicator comm(*group, std::move(script));
  const SequenceLayout layout = zigzag_layout(48, 4);
  const testing::AttentionCase c = testing::make_case({});
  const auto go_on = [&] {
    for (int i = 0; i < 100; ++i) testing::ring_results(c, layout, comm);
  };
  EXPECT_THAT(go_on, ThrowsMessage<CommError>(AllOf(HasSubstr("context-parallel"), HasSubstr("exchange"),
                                                    HasSubstr(fmt::format("rank {} died", victim)))));
}

DIST_TEST(RingKill, InTheForward, 4) {
  kill_at(ranks, 2, 2);
}

DIST_TEST(RingKill, InTheBackward, 4) {
  kill_at(ranks, 1, 6);
}

}  // namespace
}  // namespace ringtron

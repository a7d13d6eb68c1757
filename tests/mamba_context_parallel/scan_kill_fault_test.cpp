// A rank that is killed inside a scan over many ranks, either way: the others get a CommError that names the group and
// the rank.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "ringtron/comm/decorators/faulty_communicator.h"
#include "ringtron/comm/make_communicator.h"
#include "tests/mamba_context_parallel/scan_case.h"
#include "tests/support/multi_rank.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// `victim` of four ranks dies at its operation number `operation`, counted from 1. By states: the rows before pieces,
// the states there and back, then gradients, in reverse; by heads: there, back, and the same of gradients.
void kill_at(testing::RankContext& ranks, ScanWay way, int victim, int operation) {
  const auto group = make_communicator(Backend::gloo, "context-parallel", {0, 1, 2, 3}, ranks.rendezvous());
  ranks.meet();
  std::vector<ScriptedFault> script;
  if (ranks.rank() == victim) {
    script.push_back({.operation = operation, .fault = Fault::kill});
    ranks.announce_death();
  }
  FaultyCommunicator comm(*group, std::move(script));
  const testing::ScanCase c = testing::make_scan_case({4, 2, 2, 3}, 64, 2, 1);
  const auto go_on = [&] {
    for (int i = 0; i < 100; ++i) testing::scan_results(c, zigzag_layout(c.length, 4), way, comm);
  };
  EXPECT_THAT(go_on, ThrowsMessage<CommError>(AllOf(HasSubstr("context-parallel"), HasSubstr("exchange"),
                                                    HasSubstr(fmt::format("rank {} died", victim)))));
}

DIST_TEST(ScanKill, StatesInTheForward, 4) { kill_at(ranks, ScanWay::states, 2, 2); }
DIST_TEST(ScanKill, StatesInTheBackward, 4) { kill_at(ranks, ScanWay::states, 1, 5); }
DIST_TEST(ScanKill, HeadsInTheForward, 4) { kill_at(ranks, ScanWay::heads, 0, 2); }
DIST_TEST(ScanKill, HeadsInTheBackward, 4) { kill_at(ranks, ScanWay::heads, 3, 4); }

}  // namespace
}  // namespace ringtron

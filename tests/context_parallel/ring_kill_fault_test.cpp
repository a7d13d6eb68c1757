// A rank that is killed inside attention, under each transport: the others get a CommError that names the
// group and the rank.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "ringtron/comm/decorators/faulty_communicator.h"
#include "ringtron/comm/make_communicator.h"
#include "tests/context_parallel/attention_case.h"
#include "tests/support/multi_rank.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// `victim` of four ranks dies at its operation number `operation`, counted from 1: agreeing on the plan is
// the first, then come the messages of the forward and of the backward pass.
void kill_at(testing::RankContext& ranks, CpTransport transport, int victim, int operation) {
  const auto group = make_communicator(Backend::gloo, "context-parallel", {0, 1, 2, 3}, ranks.rendezvous());
  ranks.meet();
  std::vector<ScriptedFault> script;
  if (ranks.rank() == victim) {
    script.push_back({.operation = operation, .fault = Fault::kill});
    ranks.announce_death();
  }
  FaultyCommunicator comm(*group, std::move(script));
  const testing::CaseSizes sizes{.transport = transport, .hierarchical_a = 2};
  const SequenceLayout layout = testing::layout_of(sizes, 4);
  const testing::AttentionCase c = testing::make_case(sizes);
  const auto go_on = [&] {
    for (int i = 0; i < 100; ++i) testing::ring_results(c, layout, comm);
  };
  EXPECT_THAT(go_on, ThrowsMessage<CommError>(AllOf(HasSubstr("context-parallel"), HasSubstr("exchange"),
                                                    HasSubstr(fmt::format("rank {} died", victim)))));
}

DIST_TEST(RingKill, P2pInTheForward, 4) { kill_at(ranks, CpTransport::p2p, 2, 3); }
DIST_TEST(RingKill, P2pInTheBackward, 4) { kill_at(ranks, CpTransport::p2p, 1, 7); }
DIST_TEST(RingKill, AllGatherInTheForward, 4) { kill_at(ranks, CpTransport::all_gather, 0, 2); }
DIST_TEST(RingKill, AllGatherInTheBackward, 4) { kill_at(ranks, CpTransport::all_gather, 3, 4); }
DIST_TEST(RingKill, AllToAllInTheForward, 4) { kill_at(ranks, CpTransport::a2a, 3, 3); }
DIST_TEST(RingKill, AllToAllInTheBackward, 4) { kill_at(ranks, CpTransport::a2a, 2, 5); }
DIST_TEST(RingKill, HierarchicalInTheForward, 4) { kill_at(ranks, CpTransport::hierarchical, 1, 3); }
DIST_TEST(RingKill, HierarchicalInTheBackward, 4) { kill_at(ranks, CpTransport::hierarchical, 0, 7); }
DIST_TEST(RingKill, BeforeTheFirstMessage, 4) { kill_at(ranks, CpTransport::p2p, 2, 1); }

}  // namespace
}  // namespace ringtron

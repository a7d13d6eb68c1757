// A rank that is killed while recomputed attention communicates again: the others' backward throws a
// CommError that names the group and the rank.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <torch/csrc/autograd/autograd.h>

#include "ringtron/base/error.h"
#include "ringtron/comm/decorators/faulty_communicator.h"
#include "ringtron/comm/make_communicator.h"
#include "ringtron/modules/recompute.h"
#include "tests/context_parallel/attention_case.h"
#include "tests/support/multi_rank.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// Operations: 1 agrees on the plan, 2-4 are the forward's hops, 5-7 those of the second run, then come the
// backward's.
void kill_at(testing::RankContext& ranks, int victim, int operation) {
  const auto group = make_communicator(Backend::gloo, "context-parallel", {0, 1, 2, 3}, ranks.rendezvous());
  std::vector<ScriptedFault> script;
  if (ranks.rank() == victim) {
    script.push_back({.operation = operation, .fault = Fault::kill});
    ranks.announce_death();
  }
  FaultyCommunicator comm(*group, std::move(script));
  const SequenceLayout layout = zigzag_layout(48, 4);
  const testing::AttentionCase c = testing::make_case({.sequence = 48});
  const auto attention = c.attention(comm, layout);
  const auto mine = [&](const at::Tensor& x) { return testing::shard(x, layout, comm.rank()); };
  const at::Tensor q = mine(c.q).set_requires_grad(true);
  const at::Tensor out =
      recomputed([&](std::span<const at::Tensor> qkv) { return attention->forward(qkv[0], qkv[1], qkv[2], c.call); },
                 {q, mine(c.k), mine(c.v)});
  ranks.meet();
  const auto go_back = [&] { torch::autograd::backward({out}, {mine(c.d_out)}); };
  EXPECT_THAT(go_back, ThrowsMessage<CommError>(AllOf(HasSubstr("context-parallel"), HasSubstr("exchange"),
                                                      HasSubstr(fmt::format("rank {} died", victim)))));
}

DIST_TEST(RecomputeKill, AtTheFirstHopOfTheSecondRun, 4) { kill_at(ranks, 2, 5); }
DIST_TEST(RecomputeKill, InTheMiddleOfTheSecondRun, 4) { kill_at(ranks, 1, 6); }
DIST_TEST(RecomputeKill, InTheBackwardThatFollows, 4) { kill_at(ranks, 3, 8); }

}  // namespace
}  // namespace ringtron

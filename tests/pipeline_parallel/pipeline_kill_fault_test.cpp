// A stage that is killed: the one behind, which waits for its hidden states, and the one before, which waits for their
// gradients, throw a CommError that names it.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <csignal>

#include "ringtron/base/error.h"
#include "ringtron/pipeline_parallel/pipeline_channels.h"
#include "tests/support/multi_rank.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

DIST_TEST(PipelineKill, NeighboursNameTheStageThatDied, 3) {
  const ProcessGrid grid({.tensor = 1, .context = 1, .pipeline = 3, .data = 1});
  const ParallelState parallel(grid, Backend::gloo, ranks.rendezvous());
  PipelineChannels channels(parallel, {3, 1, 2}, at::kCPU);
  ranks.meet();
  if (ranks.rank() == 1) {
    ranks.announce_death();
    std::raise(SIGKILL);
  }
  const at::Tensor into = at::zeros({64, 64});
  const auto wait = [&] {
    (ranks.rank() == 0 ? channels.receive_gradient(into) : channels.receive_activation(into)).wait();
  };
  EXPECT_THAT(wait, ThrowsMessage<CommError>(AllOf(HasSubstr(ranks.rank() == 0 ? "pipeline-gradients-of-stage-0"
                                                                               : "pipeline-activations-of-stage-1"),
                                                   HasSubstr("rank 1 died"))));
}

}  // namespace
}  // namespace ringtron

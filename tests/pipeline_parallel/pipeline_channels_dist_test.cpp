// Messages between stages arrive in order, and the sender does not wait for who receives later.
#include "ringtron/pipeline_parallel/pipeline_channels.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "tests/support/multi_rank.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

ProcessGrid grid_of(int stages) { return ProcessGrid({.tensor = 1, .context = 1, .pipeline = stages, .data = 1}); }

at::Tensor message(int stage, int number) { return at::full({3, 2}, 100.0 * stage + number, at::kDouble); }

DIST_TEST(PipelineChannels, CarryMessagesInOrderAndAround, 2, 3) {
  const ParallelState parallel(grid_of(ranks.size()), Backend::gloo, ranks.rendezvous());
  const PipelineShape shape{ranks.size(), /*chunks=*/2, /*micro_batches=*/4};
  PipelineChannels channels(parallel, shape, at::kCPU);
  const int own = ranks.rank(), before = (own + ranks.size() - 1) % ranks.size(), after = (own + 1) % ranks.size();
  // All send first, as much as may be under way.
  for (int i = 0; i < shape.most_sends(); ++i) {
    channels.send_activation(message(own, i));
    channels.send_gradient(message(own, -i));
  }
  for (int i = 0; i < shape.most_sends(); ++i) {
    const at::Tensor activation = at::zeros({3, 2}, at::kDouble), gradient = at::zeros({3, 2}, at::kDouble);
    Work activation_comes = channels.receive_activation(activation),
         gradient_comes = channels.receive_gradient(gradient);
    gradient_comes.wait();
    activation_comes.wait();
    EXPECT_TENSOR_EQUAL(activation, message(before, i));
    EXPECT_TENSOR_EQUAL(gradient, message(after, -i));
  }
  channels.finish();
}

DIST_TEST(PipelineChannels, EndsAreTheFirstAndTheLastRank, 3) {
  const ParallelState parallel(grid_of(3), Backend::gloo, ranks.rendezvous());
  PipelineChannels channels(parallel, {3, 1, 1}, at::kCPU);
  if (ranks.rank() == 1) {
    EXPECT_THROW(channels.ends(), InternalError);
    EXPECT_NO_THROW(channels.finish());
  } else {
    const at::Tensor sum = at::full({2}, 1.0 + ranks.rank(), at::kDouble);
    channels.ends().all_reduce(sum).wait();
    EXPECT_TENSOR_EQUAL(sum, at::full({2}, 4.0, at::kDouble));
  }
  // Without several chunks there is nothing from the last rank to the first.
  if (ranks.rank() == 2) {
    EXPECT_THROW(channels.send_activation(message(0, 0)), InternalError);
  }
}

}  // namespace
}  // namespace ringtron

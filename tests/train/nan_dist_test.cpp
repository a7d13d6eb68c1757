// A number that is not finite, on one rank alone, stops all ranks before their weights change.
#include <gmock/gmock.h>

#include <limits>

#include "ringtron/base/error.h"
#include "tests/train/toy_training.h"

namespace ringtron::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string message_of_step(ToyTraining& run, DataLoader& loader) {
  try {
    run.parts().step().run(loader);
  } catch (const NumericError& error) {
    return error.what();
  }
  return "";
}

Parameter& last_parameter(ToyTraining& run) { return *run.state().store.all().back(); }

void poison(Parameter& parameter) {
  const at::NoGradGuard no_grad;
  parameter.value.detach().view(-1).select(0, 0).fill_(std::numeric_limits<double>::infinity());
}

void expect_stop(RankContext& ranks, const Layout& layout, const std::string& flags) {
  const SharedFolder folder(ranks);
  ToyTraining run(ranks, 0, toy_config(layout, folder.corpus(), fmt::format("{} {}", kLlamaLike, flags)));
  const auto loader = run.loader();
  EXPECT_EQ(message_of_step(run, *loader), "");
  if (ranks.rank() == ranks.size() - 1) poison(last_parameter(run));
  std::vector<at::Tensor> before;
  for (const Parameter* parameter : run.state().store.all()) before.push_back(parameter->value.detach().clone());
  EXPECT_THAT(message_of_step(run, *loader),
              AllOf(HasSubstr("iteration 2: expected finite numbers"), HasSubstr("samples from")));
  EXPECT_EQ(run.state().progress.iteration, 1);
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_TRUE(before[i].equal(run.state().store.all()[i]->value.detach())) << run.state().store.all()[i]->name;
  }
  run.job().world().barrier();
}

DIST_TEST(NotFinite, OnOneReplica, 2) { expect_stop(ranks, {1, 1, 2, false, 2}, ""); }
DIST_TEST(NotFinite, OnOneContextRank, 2) { expect_stop(ranks, {1, 2, 1, false, 2}, ""); }
// Without clipping there is no norm to print, but one to look at.
DIST_TEST(NotFinite, WithoutClipping, 2) { expect_stop(ranks, {1, 2, 1, false, 2}, "--clip-grad 0"); }

}  // namespace
}  // namespace ringtron::testing

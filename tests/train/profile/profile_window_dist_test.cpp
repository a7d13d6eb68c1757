// The window of --profile begins and ends on all ranks at the same steps, whichever of them are profiled: what they do
// at its ends they do together.
#include <gtest/gtest.h>

#include "ringtron/train/profile/step_profiler.h"
#include "tests/train/toy_training.h"

namespace ringtron::testing {
namespace {

// Bit n: the profiler of this rank acts before step n + 1.
std::int64_t moments(ToyTraining& run, std::int64_t steps) {
  StepProfiler profiler(run.job());
  std::int64_t bits = 0;
  for (std::int64_t iteration = 0; iteration < steps; ++iteration) {
    if (profiler.acts_at(iteration)) bits |= std::int64_t{1} << iteration;
    profiler.at(iteration);
  }
  profiler.stop(steps);
  return bits;
}

void expect_moments(RankContext& ranks, const std::string& flags, std::int64_t bits) {
  const SharedFolder folder(ranks);
  ToyTraining run(ranks, 0, toy_config({.cp = 2}, folder.corpus(), fmt::format("{} --profile {}", kLlamaLike, flags)));
  EXPECT_EQ(moments(run, 8), bits) << "rank " << ranks.rank();
  run.job().world().barrier();
}

DIST_TEST(ProfileWindow, OfOneRank, 2) {
  expect_moments(ranks, "--profile-step-start 2 --profile-step-end 5", 0b100100);
}
DIST_TEST(ProfileWindow, OfTheOtherRank, 2) {
  expect_moments(ranks, "--profile-ranks 1 --profile-step-start 0 --profile-step-end 1", 0b11);
}
DIST_TEST(ProfileWindow, ThatDoesNotEnd, 2) {
  expect_moments(ranks, "--profile-ranks 0 1 --profile-step-start 6 --profile-step-end 60", 0b1000000);
}

}  // namespace
}  // namespace ringtron::testing

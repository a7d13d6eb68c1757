// The comparison at the end of cp_demo_minimal sees every kind of difference.
#include "ringtron/tools/demo/block_run.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

namespace ringtron {
namespace {

constexpr double kTolerance = 1e-10, kNan = std::numeric_limits<double>::quiet_NaN(),
                 kInfinity = std::numeric_limits<double>::infinity();

BlockRun some_run() {
  const auto values = [](double first) { return at::arange(first, first + 6, at::kDouble).view({3, 1, 2}); };
  return {values(1), values(2), {{"first", values(3)}, {"middle", values(4)}, {"last", values(5)}}, 3};
}

at::Tensor& gradient(BlockRun& run, std::size_t i) { return run.gradients.at(i).second; }

TEST(BlockRun, EqualOnesAreTheSame) {
  EXPECT_TRUE(same_block_runs(some_run(), some_run(), kTolerance));
  BlockRun rounded = some_run();
  gradient(rounded, 1) *= 1 + 1e-12;
  EXPECT_TRUE(same_block_runs(rounded, some_run(), kTolerance));
}

TEST(BlockRun, ADifferenceIsSeenWhereverItIs) {
  for (const double wrong : {1.0, kNan, kInfinity, -kInfinity}) {
    SCOPED_TRACE(wrong);
    BlockRun run = some_run();
    run.out[1][0][1] += wrong;
    EXPECT_FALSE(same_block_runs(run, some_run(), kTolerance));
    run = some_run();
    run.input_gradient[2][0][0] += wrong;
    EXPECT_FALSE(same_block_runs(run, some_run(), kTolerance));
    for (std::size_t i = 0; i < 3; ++i) {
      run = some_run();
      gradient(run, i)[0][0][0] += wrong;
      EXPECT_FALSE(same_block_runs(run, some_run(), kTolerance)) << "gradient " << i;
    }
  }
}

TEST(BlockRun, NanInBothIsNotRight) {
  for (const double wrong : {kNan, kInfinity}) {
    for (std::size_t i = 0; i < 3; ++i) {
      BlockRun run = some_run();
      gradient(run, i)[0][0][0] = wrong;
      EXPECT_FALSE(same_block_runs(run, run, kTolerance)) << "gradient " << i;
      EXPECT_FALSE(same_block_runs(some_run(), run, kTolerance)) << "expected gradient " << i;
    }
  }
}

}  // namespace
}  // namespace ringtron

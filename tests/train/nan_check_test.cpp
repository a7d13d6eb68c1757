// The guard against NaN: the first bad iteration stops the weights for good and is the one that is named.
#include "ringtron/train/nan_check.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <limits>

#include "ringtron/base/error.h"
#include "ringtron/optim/adam.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

at::Tensor number(double x) { return at::full({}, x, at::kDouble); }

TEST(NanCheck, LetsFiniteNumbersPass) {
  NanCheck guard(at::kCPU);
  guard.require_finite();
  for (int iteration = 1; iteration <= 3; ++iteration) {
    EXPECT_EQ(guard.note(iteration, 8 * iteration, number(2.5), number(1e30)).item<float>(), 0.0f);
  }
  guard.require_finite();
}

TEST(NanCheck, NamesTheFirstBadIterationAndSkipsAllAfterIt) {
  const double bad[] = {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()};
  for (const double x : bad) {
    for (const bool loss : {true, false}) {
      NanCheck guard(at::kCPU);
      EXPECT_EQ(guard.note(6, 40, number(2.0), number(1.0)).item<float>(), 0.0f);
      EXPECT_EQ(guard.note(7, 48, number(loss ? x : 2.0), number(loss ? 1.0 : x)).item<float>(), 1.0f);
      EXPECT_EQ(guard.note(8, 56, number(3.0), number(1.0)).item<float>(), 1.0f);
      EXPECT_EQ(guard.note(9, 64, number(x), number(x)).item<float>(), 1.0f);
      EXPECT_THAT([&] { guard.require_finite(); },
                  ThrowsMessage<NumericError>(AllOf(HasSubstr("iteration 7:"), HasSubstr("samples from 48 on"))));
    }
  }
}

// Numbers as losses and norms come: a loss in fp64, a norm in fp32, and either may be one element or 0-dim.
TEST(NanCheck, TakesAnyTypeOfNumber) {
  NanCheck guard(at::kCPU);
  guard.note(1, 0, at::full({1}, 1.0, at::kFloat), number(1.0));
  guard.require_finite();
}

TEST(NanCheck, StopsTheOptimizer) {
  NanCheck guard(at::kCPU);
  AdamTensors t{at::ones({5}), at::ones({5}), at::zeros({5}), at::zeros({5})};
  const auto step = [&](int iteration, double norm) {
    t.gradient.fill_(norm);
    adamw({&t, 1}, {}, {0.1, 0.0, iteration}, number(1.0), guard.note(iteration, 0, number(1.0), number(norm)));
  };
  step(1, 1.0);
  const at::Tensor main = t.main.clone(), moment = t.exp_avg.clone();
  EXPECT_FALSE(at::equal(main, at::ones({5})));
  step(2, std::numeric_limits<double>::quiet_NaN());
  step(3, 1.0);
  EXPECT_TRUE(at::equal(t.main, main));
  EXPECT_TRUE(at::equal(t.exp_avg, moment));
}

}  // namespace
}  // namespace ringtron

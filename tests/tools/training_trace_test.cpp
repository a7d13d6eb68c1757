#include "ringtron/tools/verify/training_trace.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace ringtron {
namespace {

Seen same(const at::Tensor& tensor) { return {tensor.clone(), tensor.clone()}; }

TracedStep step_of(double loss) {
  TracedStep step;
  step.loss = same(at::scalar_tensor(loss, at::kDouble));
  step.gradients = {{"a", same(at::tensor({1.0, -4.0}, at::kDouble))},
                    {"b", same(at::tensor({100.0}, at::kDouble))},
                    {"c", same(at::tensor({1e-14}, at::kDouble))}};
  return step;
}

TrainingTrace trace() { return {step_of(2.0), step_of(1.0)}; }

TEST(TrainingTrace, EqualTracesDoNotDiffer) {
  const TraceDifference d = compare_traces(trace(), trace(), 1e-10);
  EXPECT_EQ(d.loss, 0.0);
  EXPECT_EQ(d.gradient, 0.0);
  EXPECT_EQ(d.first_step, 0);
  EXPECT_TRUE(d.within(1e-10));
}

TEST(TrainingTrace, NamesTheFirstParameterInTheModelsOrder) {
  TrainingTrace other = trace();
  other[1].gradients[1].second.highest[0] += 50.0;
  other[1].gradients[0].second.lowest[1] -= 1e-3;  // one rank alone, and less
  const TraceDifference d = compare_traces(trace(), other, 1e-10);
  EXPECT_EQ(d.first_step, 2);
  EXPECT_EQ(d.first_parameter, "a");
  EXPECT_NEAR(d.first_difference, 1e-3 / 4.0, 1e-12);
  EXPECT_EQ(d.steps[1].parameter, "b");
  EXPECT_NEAR(d.gradient, 0.5, 1e-12);
  EXPECT_FALSE(d.within(1e-10));
  EXPECT_TRUE(d.within(0.6));
}

TEST(TrainingTrace, WhatIsOnlyRoundingCountsByTheModelsLargestGradient) {
  TrainingTrace other = trace();
  other[0].gradients[2].second = same(at::tensor({-3e-14}, at::kDouble));
  EXPECT_TRUE(compare_traces(trace(), other, 1e-10).within(1e-10));
}

TEST(TrainingTrace, LossAloneMayDiffer) {
  TrainingTrace other = trace();
  other[0].loss.lowest = at::scalar_tensor(1.5, at::kDouble);
  const TraceDifference d = compare_traces(trace(), other, 1e-10);
  EXPECT_NEAR(d.loss, 0.25, 1e-12);
  EXPECT_EQ(d.first_step, 1);
  EXPECT_EQ(d.first_parameter, "");
}

TEST(TrainingTrace, WhatIsNotFiniteOrMissingIsInfinite) {
  const double infinite = std::numeric_limits<double>::infinity();
  TrainingTrace other = trace();
  other[0].gradients[0].second.highest[0] = infinite;
  EXPECT_EQ(compare_traces(trace(), other, 1e-10).gradient, infinite);
  TrainingTrace renamed = trace();
  renamed[0].gradients[0].first = "z";
  EXPECT_EQ(compare_traces(trace(), renamed, 1e-10).gradient, infinite);
  TrainingTrace shorter = trace();
  shorter.pop_back();
  EXPECT_FALSE(compare_traces(trace(), shorter, 1e-10).within(1e-10));
}

}  // namespace
}  // namespace ringtron

// The dynamic loss scale against tables written by hand: what each step does to it.
#include "ringtron/optim/loss_scale.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ringtron {
namespace {

// A good step is '.', one with an overflow 'x'.
std::vector<double> scales_after(LossScale& scale, const std::string& steps) {
  std::vector<double> out;
  for (const char step : steps) {
    scale.update(at::full({1}, step == 'x' ? 1.0f : 0.0f));
    out.push_back(scale.scale().item<double>());
  }
  return out;
}

TEST(LossScale, BeginsAtTwoToThe32) {
  LossScale scale({}, at::kCPU);
  EXPECT_EQ(scale.scale().item<double>(), 4294967296.0);
  EXPECT_EQ(scale.state(), (LossScaleState{4294967296.0, 0, 2}));
}

// The first overflow is borne, each further one halves.
TEST(LossScale, HalvesFromTheSecondOverflowOn) {
  LossScale scale({.initial = 1024}, at::kCPU);
  EXPECT_EQ(scales_after(scale, "xxx.x"), (std::vector<double>{1024, 512, 256, 256, 128}));
  EXPECT_EQ(scale.state(), (LossScaleState{128, 0, -2}));
}

// Good steps are counted from the last overflow on; a doubling lets one overflow be borne again.
TEST(LossScale, DoublesAfterAWindowOfGoodSteps) {
  LossScale scale({.initial = 8, .window = 3}, at::kCPU);
  EXPECT_EQ(scales_after(scale, "..x.xx"), (std::vector<double>{8, 8, 8, 8, 4, 2}));
  EXPECT_EQ(scales_after(scale, "..."), (std::vector<double>{2, 2, 4}));
  EXPECT_EQ(scale.state(), (LossScaleState{4, 0, 2}));
  EXPECT_EQ(scales_after(scale, "xx"), (std::vector<double>{4, 2}));
  EXPECT_EQ(scales_after(scale, "......"), (std::vector<double>{2, 2, 4, 4, 4, 8}));
}

TEST(LossScale, StopsAtTheSmallest) {
  LossScale scale({.initial = 6, .smallest = 2, .hysteresis = 1}, at::kCPU);
  EXPECT_EQ(scales_after(scale, "xxx"), (std::vector<double>{3, 2, 2}));
}

TEST(LossScale, AWindowOfOneDoublesAtEachStep) {
  LossScale scale({.initial = 1, .window = 1, .hysteresis = 1}, at::kCPU);
  EXPECT_EQ(scales_after(scale, "..x."), (std::vector<double>{2, 4, 2, 4}));
}

TEST(LossScale, AConstantOneStays) {
  LossScale scale({.dynamic = false, .initial = 100, .window = 1, .hysteresis = 1}, at::kCPU);
  EXPECT_EQ(scales_after(scale, "x..x"), (std::vector<double>{100, 100, 100, 100}));
  scale.set_state({7, 1, 1});
  EXPECT_EQ(scale.scale().item<double>(), 100);
}

TEST(LossScale, GoesOnFromAState) {
  LossScale one({.initial = 64, .window = 3}, at::kCPU), other({.initial = 1, .window = 3}, at::kCPU);
  scales_after(one, "x..");
  other.set_state(one.state());
  EXPECT_EQ(scales_after(one, ".xx.x..."), scales_after(other, ".xx.x..."));
  EXPECT_EQ(one.state(), other.state());
}

// What a step was given stays what it was.
TEST(LossScale, AScaleThatWasHandedOutDoesNotChange) {
  LossScale scale({.initial = 4, .hysteresis = 1}, at::kCPU);
  const at::Tensor before = scale.scale();
  scales_after(scale, "x");
  EXPECT_EQ(before.item<double>(), 4);
}

}  // namespace
}  // namespace ringtron

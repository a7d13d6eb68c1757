// SGD against the formula of torch.optim.SGD, in fp64, and on the main weights of each type.
#include "ringtron/optim/sgd.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "ringtron/optim/optimizer.h"

namespace ringtron {
namespace {

Parameter make(const char* name, std::vector<std::int64_t> shape, at::ScalarType type) {
  Parameter p;
  p.name = name;
  p.shard.global_shape = shape;
  p.value = at::linspace(-1, 1, 12, at::kDouble).slice(0, 0, shape.size() == 2 ? 12 : 3).reshape(shape).to(type);
  p.gradient = at::zeros(shape, type == at::kDouble ? at::kDouble : at::kFloat);
  return p;
}

Optimizer sgd_of(const ParameterList& parameters, double momentum) {
  std::vector<std::int64_t> sizes;
  for (const Parameter* p : parameters) sizes.push_back(p->value.numel());
  return Optimizer(parameters, plan_buckets(sizes, {}), SgdOptions{momentum});
}

at::Tensor gradient(int step, at::IntArrayRef shape) {
  return at::arange(12, at::kDouble).add_(step).sin().slice(0, 0, shape.size() == 2 ? 12 : 3).reshape(shape);
}

TEST(Sgd, IsTheFormula) {
  constexpr double kLr = 0.1, kDecay = 0.2, kMomentum = 0.8, kScale = 0.5;
  Parameter weight = make("fc.weight", {3, 4}, at::kDouble), bias = make("fc.bias", {3}, at::kDouble);
  Optimizer optimizer = sgd_of({&weight, &bias}, kMomentum);
  at::Tensor x = weight.value.clone(), y = bias.value.clone();
  at::Tensor bx = at::zeros_like(x), by = at::zeros_like(y);
  for (int step = 0; step < 4; ++step) {
    weight.gradient.copy_(gradient(step, {3, 4}));
    bias.gradient.copy_(gradient(step, {3}));
    bx = kMomentum * bx + kScale * weight.gradient + kDecay * x;  // decay is part of the gradient
    by = kMomentum * by + kScale * bias.gradient;
    x = x - kLr * bx;
    y = y - kLr * by;
    optimizer.step({kLr}, kDecay, at::full({}, kScale));
    EXPECT_LT((weight.value - x).abs().max().item<double>(), 1e-14);
    EXPECT_LT((bias.value - y).abs().max().item<double>(), 1e-14);
  }
  const OptimizerState& state = optimizer.state("fc.weight");
  EXPECT_LT((state.moment(0) - bx).abs().max().item<double>(), 1e-14);
  EXPECT_FALSE(state.moment(1).defined());
  EXPECT_EQ(optimizer.moments_of(weight).size(), 1u);
}

TEST(Sgd, MainWeightsOfEachType) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    Parameter weight = make("w", {3, 4}, type);
    Optimizer optimizer = sgd_of({&weight}, 0.0);
    at::Tensor expected = optimizer.state("w").main().clone();
    for (int step = 0; step < 8; ++step) {
      weight.gradient.fill_(1.0);
      optimizer.step({1e-4}, 0.0, at::ones({}));  // less than a bf16 unit of most weights
      expected -= 1e-4f;
    }
    EXPECT_LT((optimizer.state("w").main() - expected).abs().max().item<double>(), 1e-6) << type;
    EXPECT_TRUE(at::equal(weight.value, optimizer.state("w").main().to(type))) << type;
  }
}

TEST(Sgd, ASkippedStepChangesNothing) {
  Parameter weight = make("w", {3, 4}, at::kFloat);
  Optimizer optimizer = sgd_of({&weight}, 0.9);
  weight.gradient.fill_(1.0);
  optimizer.step({0.1}, 0.1, at::ones({}));
  const at::Tensor value = weight.value.clone(), momentum = optimizer.state("w").moment(0).clone();
  weight.gradient.fill_(std::numeric_limits<float>::quiet_NaN());
  optimizer.step({0.1}, 0.1, at::ones({}), at::ones({1}));
  EXPECT_TRUE(at::equal(weight.value, value));
  EXPECT_TRUE(at::equal(optimizer.state("w").moment(0), momentum));
}

}  // namespace
}  // namespace ringtron

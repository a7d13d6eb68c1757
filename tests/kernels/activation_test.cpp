// The activations against their formulas in plain loops, gradients against central differences.
#include "ringtron/kernels/activation/activation.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>
#include <numbers>

#include "ringtron/base/error.h"
#include "tests/kernels/finite_difference.h"
#include "tests/support/random_tensor.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using testing::random_tensor;

constexpr double kLastBits = 1e-14;  // vectorised erf, exp and tanh against libm's

double gelu_erf(double x) { return 0.5 * x * (1 + std::erf(x / std::numbers::sqrt2)); }
double gelu_tanh(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}
double silu(double x) { return x / (1 + std::exp(-x)); }
double squared_relu(double x) { return x > 0 ? x * x : 0; }

at::Tensor map(const at::Tensor& x, double (*function)(double)) {
  at::Tensor out = x.clone();
  double* data = out.mutable_data_ptr<double>();
  for (std::int64_t i = 0; i < out.numel(); ++i) data[i] = function(data[i]);
  return out;
}

at::Tensor reference(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::gelu_erf:
      return map(x, gelu_erf);
    case Activation::gelu_tanh:
      return map(x, gelu_tanh);
    case Activation::squared_relu:
      return map(x, squared_relu);
    case Activation::swiglu:
      break;
  }
  const std::vector<at::Tensor> halves = x.chunk(2, -1);
  return map(halves[0].contiguous(), silu) * halves[1];
}

const Activation kAll[] = {Activation::gelu_erf, Activation::gelu_tanh, Activation::swiglu, Activation::squared_relu};

TEST(Activation, PassesWithoutAutogradGiveTheSame) {
  for (const Activation activation : kAll) {
    const at::Tensor x = (random_tensor({5, 2, 6}, 1) * 3).requires_grad_();
    const at::Tensor y = activate(x, activation), dy = random_tensor(y.sizes().vec(), 2);
    y.backward(dy);
    EXPECT_TENSOR_EQUAL(activation_forward(x.detach(), activation), y.detach());
    EXPECT_TENSOR_NEAR(activation_backward(x.detach(), dy, activation), x.grad(), kLastBits);
    EXPECT_GT((activation_backward(x.detach(), dy.flip(0), activation) - x.grad()).abs().max().item<double>(), 1e-2);
  }
}

TEST(Activation, MatchesTheFormula) {
  for (const Activation activation : kAll) {
    for (const std::int64_t width : {2, 6, 34}) {
      const at::Tensor x = random_tensor({5, 2, width}, 1) * 3;
      EXPECT_TENSOR_NEAR(activate(x, activation), reference(x, activation), kLastBits);
    }
    const at::Tensor far = at::tensor({-1e4, -40.0, 0.0, 40.0, 1e4, 1.0}, at::kDouble);
    EXPECT_TENSOR_NEAR(activate(far, activation), reference(far, activation), kLastBits);
    EXPECT_EQ(activate(at::empty({0, 2, 6}), activation).size(0), 0);
  }
}

TEST(Activation, AreToldApart) {  // negative control
  const at::Tensor x = random_tensor({5, 2, 6}, 2);
  EXPECT_FALSE(testing::tensor_near(activate(x, Activation::gelu_erf), reference(x, Activation::gelu_tanh), kLastBits));
  const at::Tensor swapped = at::cat({x.narrow(-1, 3, 3), x.narrow(-1, 0, 3)}, -1);  // up before gate
  EXPECT_FALSE(
      testing::tensor_near(activate(swapped, Activation::swiglu), reference(x, Activation::swiglu), kLastBits));
}

TEST(Activation, GradientsMatchDifferences) {
  for (const Activation activation : kAll) {
    EXPECT_TRUE(testing::gradient_matches([&](const at::Tensor& x) { return activate(x, activation); },
                                          random_tensor({3, 2, 4}, 3)));
  }
}

TEST(Activation, SwigluNeedsTwoHalves) {
  EXPECT_THAT([] { activate(at::ones({2, 2, 5}), Activation::swiglu); },
              ::testing::ThrowsMessage<InternalError>(::testing::HasSubstr("got 5 in all")));
}

}  // namespace
}  // namespace ringtron

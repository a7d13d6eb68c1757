// LayerNorm and RMSNorm against plain loops in fp64, their gradients against central differences.
#include "ringtron/kernels/norm/norm.h"

#include <ATen/ATen.h>

#include <cmath>

#include "tests/kernels/finite_difference.h"
#include "tests/support/random_tensor.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using testing::random_tensor;

constexpr double kEpsilon = 1e-5;
constexpr double kSameSums = 1e-14;  // fp64, sums of at most 33 numbers in another order

// Subtracts the mean only for LayerNorm; `bias` may be undefined.
at::Tensor reference(const at::Tensor& x, const at::Tensor& factor, const at::Tensor& bias, bool subtract_mean) {
  const std::int64_t width = x.size(-1), lines = x.numel() / std::max<std::int64_t>(width, 1);
  const at::Tensor in = x.reshape({lines, width}), out = at::empty_like(in);
  const auto from = in.accessor<double, 2>();
  auto to = out.accessor<double, 2>();
  for (std::int64_t line = 0; line < lines; ++line) {
    double mean = 0, square = 0;
    for (std::int64_t i = 0; i < width && subtract_mean; ++i) mean += from[line][i] / width;
    for (std::int64_t i = 0; i < width; ++i) square += (from[line][i] - mean) * (from[line][i] - mean) / width;
    for (std::int64_t i = 0; i < width; ++i) {
      to[line][i] = (from[line][i] - mean) / std::sqrt(square + kEpsilon) * factor[i].item<double>();
      if (bias.defined()) to[line][i] += bias[i].item<double>();
    }
  }
  return out.view(x.sizes());
}

TEST(LayerNorm, MatchesPlainLoops) {
  for (const std::int64_t width : {1, 8, 33}) {
    const at::Tensor x = random_tensor({3, 2, width}, 1) * 3 + 1;
    const at::Tensor weight = random_tensor({width}, 2), bias = random_tensor({width}, 3);
    EXPECT_TENSOR_NEAR(layer_norm(x, weight, bias, kEpsilon, false), reference(x, weight, bias, true), kSameSums);
    EXPECT_TENSOR_NEAR(layer_norm(x, weight, {}, kEpsilon, false), reference(x, weight, {}, true), kSameSums);
    EXPECT_TENSOR_NEAR(layer_norm(x, weight, bias, kEpsilon, true), reference(x, weight + 1, bias, true), kSameSums);
    EXPECT_TENSOR_NEAR(layer_norm(x, weight, {}, kEpsilon, true), reference(x, weight + 1, {}, true), kSameSums);
  }
}

TEST(RmsNorm, MatchesPlainLoops) {
  for (const std::int64_t width : {1, 8, 33}) {
    const at::Tensor x = random_tensor({3, 2, width}, 4) * 3 + 1, weight = random_tensor({width}, 5);
    EXPECT_TENSOR_NEAR(rms_norm(x, weight, kEpsilon, false), reference(x, weight, {}, false), kSameSums);
    EXPECT_TENSOR_NEAR(rms_norm(x, weight, kEpsilon, true), reference(x, weight + 1, {}, false), kSameSums);
  }
}

TEST(Norms, AreToldApart) {  // negative control: the comparison sees the mean, the zero-centring and the
                             // order of weights
  const at::Tensor x = random_tensor({3, 2, 8}, 6) + 1, weight = random_tensor({8}, 7);
  EXPECT_FALSE(testing::tensor_near(rms_norm(x, weight, kEpsilon, false), reference(x, weight, {}, true), kSameSums));
  EXPECT_FALSE(testing::tensor_near(rms_norm(x, weight, kEpsilon, true), reference(x, weight, {}, false), kSameSums));
  EXPECT_FALSE(testing::tensor_near(layer_norm(x, weight, {}, kEpsilon, false), reference(x, weight.flip(0), {}, true),
                                    kSameSums));
}

TEST(Norms, GradientsMatchDifferences) {
  const at::Tensor x = random_tensor({2, 2, 6}, 8), weight = random_tensor({6}, 9), bias = random_tensor({6}, 10);
  for (const bool centred : {false, true}) {
    EXPECT_TRUE(testing::gradient_matches(
        [&](const at::Tensor& v) { return layer_norm(v, weight, bias, kEpsilon, centred); }, x));
    EXPECT_TRUE(testing::gradient_matches(
        [&](const at::Tensor& v) { return layer_norm(x, v, bias, kEpsilon, centred); }, weight));
    EXPECT_TRUE(testing::gradient_matches(
        [&](const at::Tensor& v) { return layer_norm(x, weight, v, kEpsilon, centred); }, bias));
    EXPECT_TRUE(
        testing::gradient_matches([&](const at::Tensor& v) { return rms_norm(v, weight, kEpsilon, centred); }, x));
    EXPECT_TRUE(
        testing::gradient_matches([&](const at::Tensor& v) { return rms_norm(x, v, kEpsilon, centred); }, weight));
  }
}

TEST(Norms, Bf16RoundsOnceAtTheEnd) {
  // Inputs are exact in bf16. A result rounded once is off by at most 2^-8 of itself; fp32 statistics of
  // numbers near 100 add 1e-5 where the mean cancels.
  const at::Tensor x = (random_tensor({64, 2, 32}, 11) * 5 + 100).to(at::kBFloat16);
  const at::Tensor weight = (random_tensor({32}, 12) * 0.1).to(at::kBFloat16);
  const at::Tensor wide_x = x.to(at::kDouble), wide_weight = weight.to(at::kDouble);
  const auto expect_rounded_once = [](const at::Tensor& got, const at::Tensor& expected) {
    EXPECT_EQ(got.scalar_type(), at::kBFloat16);
    const at::Tensor allowed = expected.abs() * (1.01 / 256) + 2e-5;
    EXPECT_TRUE((got.to(at::kDouble) - expected).abs().le(allowed).all().item<bool>());
  };
  expect_rounded_once(rms_norm(x, weight, kEpsilon, false), reference(wide_x, wide_weight, {}, false));
  expect_rounded_once(rms_norm(x, weight, kEpsilon, true), reference(wide_x, wide_weight + 1, {}, false));
  expect_rounded_once(layer_norm(x, weight, {}, kEpsilon, true), reference(wide_x, wide_weight + 1, {}, true));
}

TEST(Norms, ZeroCentredKeepsSmallWeightsInBf16) {
  const at::Tensor x = random_tensor({16, 2, 32}, 13).to(at::kBFloat16);
  const at::Tensor none = at::zeros({32}, at::kBFloat16),
                   small = at::full({32}, 0.003, at::kBFloat16);  // 1 + 0.003 is 1
  EXPECT_FALSE(
      testing::tensor_equal(layer_norm(x, small, {}, kEpsilon, true), layer_norm(x, none, {}, kEpsilon, true)));
  EXPECT_FALSE(testing::tensor_equal(rms_norm(x, small, kEpsilon, true), rms_norm(x, none, kEpsilon, true)));
}

TEST(Norms, EmptyInput) {
  const at::Tensor x = at::empty({0, 2, 8}, at::kDouble), weight = at::ones({8}, at::kDouble);
  EXPECT_EQ(layer_norm(x, weight, {}, kEpsilon, true).sizes(), x.sizes());
  EXPECT_EQ(rms_norm(x, weight, kEpsilon, false).sizes(), x.sizes());
}

}  // namespace
}  // namespace ringtron

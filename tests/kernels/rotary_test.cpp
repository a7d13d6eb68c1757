// Rotary positions against plain loops in fp64 that turn one pair of channels at a time.
#include "ringtron/kernels/rotary/rotary.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "ringtron/base/error.h"
#include "tests/kernels/finite_difference.h"
#include "tests/support/random_tensor.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using testing::random_tensor;

constexpr double kFp64 = 1e-12;  // an angle of up to 2000 holds 2000 * 1e-16
constexpr double kFp32 = 4e-7;   // the table's rounding and two products

// Llama 3's rule, by wavelength: short waves stay, long ones are stretched, those between are blended.
double scaled(double frequency, const RotaryOptions& options) {
  if (!options.llama3_scaling) return frequency;
  const double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength < 8192.0 / 4.0) return frequency;
  if (wavelength > 8192.0 / 1.0) return frequency / options.llama3_factor;
  const double blend = (8192.0 / wavelength - 1.0) / (4.0 - 1.0);
  return (1 - blend) * frequency / options.llama3_factor + blend * frequency;
}

// positions: [s, b].
at::Tensor reference(const at::Tensor& input, const at::Tensor& positions, const RotaryOptions& options) {
  at::Tensor out = input.to(at::kDouble).clone();
  auto x = out.accessor<double, 4>();
  const auto p = positions.accessor<std::int64_t, 2>();
  const int turned = static_cast<int>(options.head_dim * options.percent);
  for (std::int64_t s = 0; s < x.size(0); ++s) {
    for (std::int64_t b = 0; b < x.size(1); ++b) {
      for (std::int64_t n = 0; n < x.size(2); ++n) {
        for (int pair = 0; pair < turned / 2; ++pair) {
          const int first = options.interleaved ? 2 * pair : pair;
          const int second = options.interleaved ? 2 * pair + 1 : pair + turned / 2;
          const double stretch = options.interpolation > 0 ? options.interpolation : 1.0;
          const double frequency = scaled(1.0 / std::pow(options.base, 2.0 * pair / turned), options);
          const double angle = static_cast<double>(p[s][b]) / stretch * frequency;
          const double u = x[s][b][n][first], v = x[s][b][n][second];
          x[s][b][n][first] = u * std::cos(angle) - v * std::sin(angle);
          x[s][b][n][second] = v * std::cos(angle) + u * std::sin(angle);
        }
      }
    }
  }
  return out;
}

std::vector<RotaryOptions> all_options() {
  std::vector<RotaryOptions> list;
  for (const bool interleaved : {false, true}) {
    for (const double percent : {1.0, 0.5, 0.25}) {
      for (const double interpolation : {0.0, 4.0}) {
        for (const bool llama3 : {false, true}) {
          RotaryOptions options;
          options.head_dim = 16;
          options.percent = percent;
          options.base = llama3 ? 500000.0 : 10000.0;
          options.interleaved = interleaved;
          options.interpolation = interpolation;
          options.llama3_scaling = llama3;
          list.push_back(options);
        }
      }
    }
  }
  return list;
}

at::Tensor turn(const at::Tensor& x, const at::Tensor& positions, const RotaryOptions& options,
                at::ScalarType type = at::kDouble) {
  return apply_rotary(x, rotary_table(positions, options, type), options.interleaved);
}

TEST(Rotary, MatchesPlainLoopsForAllOptions) {
  const at::Tensor x = random_tensor({6, 2, 3, 16}, 1);
  const at::Tensor positions = at::tensor({0, 1, 2, 900, 1000, 2000}, at::kLong).unsqueeze(1);
  for (const RotaryOptions& options : all_options())
    EXPECT_TENSOR_NEAR(turn(x, positions, options), reference(x, positions.expand({6, 2}), options), kFp64);
}

TEST(Rotary, Llama3ScalingHasAllThreeRanges) {
  // 64 pairs over base 500000: wavelengths from 6 to 2.6 million, so both limits (2048, 8192) lie between
  // pairs.
  RotaryOptions options;
  options.head_dim = 128;
  options.base = 500000.0;
  options.llama3_scaling = true;
  const at::Tensor positions = at::tensor({1, 2000}, at::kLong).unsqueeze(1), x = random_tensor({2, 1, 1, 128}, 2);
  EXPECT_TENSOR_NEAR(turn(x, positions, options), reference(x, positions, options), kFp64);
  RotaryOptions plain = options;
  plain.llama3_scaling = false;
  EXPECT_FALSE(testing::tensor_near(turn(x, positions, options), reference(x, positions, plain), 1e-3));
}

TEST(Rotary, ZigzagPositionsAreRowsOfTheWhole) {
  const at::Tensor x = random_tensor({16, 2, 3, 16}, 3), all = at::arange(16, at::kLong).unsqueeze(1);
  const at::Tensor mine = at::tensor({2, 3, 12, 13}, at::kLong);  // rank 1 of 4 with chunks of 2
  for (const RotaryOptions& options : all_options()) {
    const at::Tensor whole = turn(x, all, options);
    EXPECT_TENSOR_EQUAL(turn(x.index_select(0, mine), mine.unsqueeze(1), options), whole.index_select(0, mine));
    EXPECT_FALSE(testing::tensor_near(  // negative control: the same rows taken for the first four
        turn(x.index_select(0, mine), at::arange(4, at::kLong).unsqueeze(1), options), whole.index_select(0, mine),
        1e-3));
  }
}

TEST(Rotary, EachSampleMayHaveItsOwnPositions) {
  const at::Tensor x = random_tensor({5, 3, 2, 16}, 4);
  const at::Tensor positions = at::tensor({0, 0, 0, 1, 1, 1, 2, 0, 2, 3, 1, 0, 4, 2, 1}, at::kLong).view({5, 3});
  for (const RotaryOptions& options : all_options()) {
    EXPECT_TENSOR_NEAR(turn(x, positions, options), reference(x, positions, options), kFp64);
    EXPECT_TENSOR_NEAR(turn(x, positions.t().contiguous().t(), options), reference(x, positions, options), kFp64);
  }
}

TEST(Rotary, InterleavingIsNoticed) {  // negative control
  RotaryOptions options = all_options().front();
  const at::Tensor x = random_tensor({4, 1, 1, 16}, 5), positions = at::arange(4, at::kLong).unsqueeze(1);
  const at::Tensor got = turn(x, positions, options);
  options.interleaved = true;
  EXPECT_FALSE(testing::tensor_near(got, reference(x, positions, options), 1e-3));
}

TEST(Rotary, GradientMatchesDifferences) {
  const at::Tensor x = random_tensor({3, 2, 1, 16}, 6), positions = at::tensor({7, 0, 31}, at::kLong).unsqueeze(1);
  for (const RotaryOptions& options : all_options()) {
    const RotaryTable table = rotary_table(positions, options, at::kDouble);
    EXPECT_TRUE(
        testing::gradient_matches([&](const at::Tensor& v) { return apply_rotary(v, table, options.interleaved); }, x));
  }
}

TEST(Rotary, NarrowTypesTurnInTheTablesType) {
  RotaryOptions options;
  options.head_dim = 16;
  const at::Tensor positions = at::tensor({0, 4095, 131071}, at::kLong).unsqueeze(1);
  const at::Tensor x = random_tensor({3, 1, 2, 16}, 7).to(at::kBFloat16);
  const at::Tensor expected = reference(x, positions, options);
  EXPECT_TENSOR_NEAR(turn(x.to(at::kFloat), positions, options, at::kFloat), expected, kFp32);
  const at::Tensor got = turn(x, positions, options, at::kFloat);
  EXPECT_EQ(got.scalar_type(), at::kBFloat16);
  EXPECT_TENSOR_NEAR(got, expected, 1.0 / 256);
}

TEST(Rotary, EmptySequence) {
  RotaryOptions options;
  options.head_dim = 16;
  EXPECT_EQ(turn(at::empty({0, 2, 3, 16}, at::kDouble), at::empty({0, 1}, at::kLong), options).size(0), 0);
}

TEST(Rotary, RefusesAnOddNumberOfTurnedChannels) {
  RotaryOptions options;
  options.head_dim = 16;
  for (const double percent : {0.3125, 0.0, 1.5}) {  // 5, none, more than there are
    options.percent = percent;
    EXPECT_THAT(
        [&] { rotary_table(at::zeros({1, 1}, at::kLong), options, at::kDouble); },
        ::testing::ThrowsMessage<InternalError>(::testing::HasSubstr("expected an even number of turned channels")));
  }
}

}  // namespace
}  // namespace ringtron

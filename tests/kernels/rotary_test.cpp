// Rotary positions against plain loops in fp64 that turn one pair of channels at a time.
#include "ringtron/kernels/rotary/rotary.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "tests/kernels/finite_difference.h"
#include "tests/support/random_tensor.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using testing::random_tensor;

constexpr double kFp64 = 1e-12;  // an angle of up to 2000 holds 2000 * 1e-16
constexpr double kFp32 = 4e-7;   // the table's rounding and two products

// YaRN's rule, pair by pair, in the paper's words (section 3.2 and equation 23): r turns within the original length;
// of fewer than beta_slow turns the frequency is divided by the factor, of more than beta_fast it stays. The ramp is
// linear in the pair's number, whose ends are whole, as in the authors' program.
double yarn_scaled(double frequency, int pair, int turned, const RotaryOptions& options) {
  const YarnOptions& yarn = *options.yarn;
  const auto pair_of = [&](double turns) {  // the inverse of: turns = original length * frequency / 2 pi
    return -std::log(turns * 2 * std::numbers::pi / yarn.original_length) / std::log(options.base) * turned / 2;
  };
  double low = pair_of(yarn.beta_fast), high = pair_of(yarn.beta_slow);
  if (yarn.rounded) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0);
  high = std::min(high, turned - 1.0);
  const double ramp = std::min(1.0, std::max(0.0, (pair - low) / (high == low ? 0.001 : high - low)));
  return ramp * frequency / yarn.factor + (1 - ramp) * frequency;
}

// Llama 3's rule, by wavelength: short waves stay, long ones are stretched, those between are blended.
double scaled(double frequency, int pair, int turned, const RotaryOptions& options) {
  if (options.yarn) return yarn_scaled(frequency, pair, turned, options);
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
          const double frequency = scaled(1.0 / std::pow(options.base, 2.0 * pair / turned), pair, turned, options);
          const double amplitude = options.yarn ? options.yarn->amplitude() : 1.0;
          const double angle = static_cast<double>(p[s][b]) / stretch * frequency;
          const double u = x[s][b][n][first] * amplitude, v = x[s][b][n][second] * amplitude;
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
      RotaryOptions options;
      options.head_dim = 16;
      options.percent = percent;
      options.interleaved = interleaved;
      options.yarn = YarnOptions{.factor = 8.0, .original_length = 512.0, .rounded = percent == 1.0};
      list.push_back(options);
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

// The frequencies that transformers' own functions compute, in fp32.
void expect_frequencies(const std::string& name, const RotaryOptions& options) {
  const auto golden =
      nlohmann::json::parse(read_file(RINGTRON_SOURCE_DIR "/tests/golden/hugging_face/frequencies.json"));
  const auto expected = golden.at(name).at("frequencies").get<std::vector<double>>();
  // At position 1 the angle is the frequency, and at an amplitude of 1 sine and cosine give it back.
  RotaryOptions still = options;
  if (still.yarn) still.yarn->mscale = still.yarn->mscale_all_dim = 0.0;
  const RotaryTable table = rotary_table(at::ones({1, 1}, at::kLong), still, at::kDouble);
  const at::Tensor got = at::atan2(table.sin, table.cos).flatten().narrow(0, 0, options.head_dim / 2);
  EXPECT_TENSOR_NEAR(got / at::tensor(expected, at::kDouble), at::ones_like(got), 4e-6);  // of their roundings
  EXPECT_NEAR(options.yarn ? options.yarn->amplitude() : 1.0, golden.at(name).at("factor").get<double>(), 1e-12);
}

TEST(Rotary, FrequenciesAreThoseOfTransformers) {
  RotaryOptions options;
  options.head_dim = 128;
  options.interpolation = 4.0;
  expect_frequencies("linear", options);
  options.interpolation = 0.0;
  options.base = 500000.0;
  options.llama3_scaling = true;
  expect_frequencies("llama3", options);
  options.llama3_scaling = false;
  options.base = 1000000.0;
  options.yarn = YarnOptions{.factor = 4.0, .original_length = 32768.0};
  expect_frequencies("yarn", options);
  options.base = 150000.0;
  options.yarn =
      YarnOptions{.factor = 32.0, .original_length = 4096.0, .beta_fast = 24.0, .beta_slow = 2.0, .rounded = false};
  expect_frequencies("yarn_not_rounded", options);
  options.base = 10000.0;
  options.yarn = YarnOptions{.factor = 40.0, .original_length = 4096.0, .mscale = 0.707, .mscale_all_dim = 1.2};
  expect_frequencies("yarn_mscale", options);
}

TEST(Rotary, YarnIsNoticed) {  // negative control
  RotaryOptions options;
  options.head_dim = 16;
  options.yarn = YarnOptions{.factor = 8.0, .original_length = 512.0};
  const at::Tensor positions = at::tensor({1, 300}, at::kLong).unsqueeze(1), x = random_tensor({2, 1, 1, 16}, 8);
  RotaryOptions other = options;
  other.yarn->rounded = false;
  EXPECT_FALSE(testing::tensor_near(turn(x, positions, options), reference(x, positions, other), 1e-3));
  other = options;
  other.yarn->mscale = 0.5;
  EXPECT_FALSE(testing::tensor_near(turn(x, positions, options), reference(x, positions, other), 1e-3));
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

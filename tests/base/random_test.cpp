#include "ringtron/base/random.h"

#include <gtest/gtest.h>

#include <cmath>

namespace ringtron {
namespace {

// Known-answer vectors of the Random123 library (kat_vectors, philox4x32, 10 rounds).
TEST(Philox, KnownAnswers) {
  const PhiloxBlock zero = philox4x32(0, 0, 0);
  EXPECT_EQ(zero.v[0], 0x6627e8d5u);
  EXPECT_EQ(zero.v[1], 0xe169c58du);
  EXPECT_EQ(zero.v[2], 0xbc57ac4cu);
  EXPECT_EQ(zero.v[3], 0x9b00dbd8u);
  const PhiloxBlock ones = philox4x32(~0ull, ~0ull, ~0ull);
  EXPECT_EQ(ones.v[0], 0x408f276du);
  EXPECT_EQ(ones.v[1], 0x41c83b0eu);
  EXPECT_EQ(ones.v[2], 0xa20bc7c6u);
  EXPECT_EQ(ones.v[3], 0x6d5451fdu);
}

TEST(RandomNormal, HasUnitVarianceAndZeroMean) {
  constexpr int kCount = 200'000;
  double sum = 0, squares = 0;
  for (int i = 0; i < kCount; ++i) {
    const double x = random_normal(1234, 7, i);
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kCount, 0.0, 4.0 / std::sqrt(kCount));
  EXPECT_NEAR(squares / kCount, 1.0, 4.0 * std::sqrt(2.0 / kCount));
}

TEST(RandomNormal, StreamsDiffer) {
  EXPECT_NE(random_normal(1, 2, 3), random_normal(1, 3, 3));
  EXPECT_NE(random_normal(1, 2, 3), random_normal(2, 2, 3));
  EXPECT_EQ(random_normal(1, 2, 3), random_normal(1, 2, 3));
}

}  // namespace
}  // namespace ringtron

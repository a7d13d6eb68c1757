#include "ringtron/data/numpy_random.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace ringtron {
namespace {

struct Case {
  std::uint32_t seed;
  std::vector<int> first;
  std::vector<int> second;
};

// Printed by tests/golden/make_numpy_shuffle_golden.py.
const std::vector<Case>& golden() {
  static const std::vector<Case> cases = {
      {0u, {2, 8, 4, 9, 1, 6, 7, 3, 0, 5}, {1, 0, 2, 3, 4}},
      {1234u, {14, 11, 0, 13, 16, 2, 10, 7, 1, 9, 8, 4, 12, 5, 6, 3, 15}, {1, 0, 3, 4, 2}},
      {1u, {0, 1}, {2, 1, 4, 0, 3}},
      {42u,
       {31, 15, 26, 17, 8,  9,  19, 21, 12, 0, 4,  16, 5, 13, 11, 24, 1,
        2,  29, 3,  27, 23, 30, 22, 18, 25, 6, 20, 32, 7, 10, 14, 28},
       {0, 4, 2, 3, 1}},
      {4294967295u, {5, 1, 8, 7, 0, 6, 4, 2, 3}, {4, 1, 2, 3, 0}},
  };
  return cases;
}

TEST(NumpyRandom, ShufflesAsNumpyDoes) {
  for (const Case& c : golden()) {
    NumpyRandomState random(c.seed);
    std::vector<int> first(c.first.size()), second(5);
    std::iota(first.begin(), first.end(), 0);
    std::iota(second.begin(), second.end(), 0);
    random.shuffle(std::span(first));
    random.shuffle(std::span(second));
    EXPECT_EQ(first, c.first) << c.seed;
    EXPECT_EQ(second, c.second) << c.seed;
  }
}

TEST(NumpyRandom, LongShuffle) {
  std::vector<int> values(300000);
  std::iota(values.begin(), values.end(), 0);
  NumpyRandomState(2024).shuffle(std::span(values));
  EXPECT_EQ(std::vector<int>(values.begin(), values.begin() + 4), (std::vector<int>{150658, 106585, 73409, 240583}));
  EXPECT_EQ(std::vector<int>(values.end() - 4, values.end()), (std::vector<int>{95780, 178715, 51808, 7816}));
}

TEST(NumpyRandom, ShortArraysDrawNothing) {
  NumpyRandomState a(5), b(5);
  std::vector<int> one{7};
  a.shuffle(std::span(one));
  EXPECT_EQ(a.bounded(1000), b.bounded(1000));
}

}  // namespace
}  // namespace ringtron

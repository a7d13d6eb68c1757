// Sums of parts that wait: against a sum that adds each part at once.
#include "ringtron/context_parallel/row_sum.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/support/tensor_near.h"

namespace ringtron::internal {
namespace {

constexpr std::int64_t kRows = 12;

at::Tensor part(std::int64_t rows, std::int64_t samples = 2) { return at::randn({rows, samples, 3, 4}, at::kDouble); }

at::Tensor zeros() { return at::zeros({kRows, 2, 3, 4}, at::kDouble); }

TEST(RowSum, AnyNumberOfPartsInTheirRows) {
  at::manual_seed(1);
  for (const int count : {0, 1, 2, 4, 5, 11}) {
    RowSum sum(zeros(), kRows, at::kDouble);
    at::Tensor expected = zeros();
    for (int i = 0; i < count; ++i) {
      const PositionRange rows{i % 5, 6 + i % 7};
      const at::Tensor x = part(rows.length());
      expected.narrow(0, rows.begin, rows.length()).add_(x);
      sum.add(rows, x);
    }
    EXPECT_TENSOR_NEAR(sum.all(at::kDouble), expected, 1e-15);
    const std::vector<PositionRange> ranges{{9, 11}, {0, 3}};
    EXPECT_TENSOR_NEAR(sum.rows(ranges, at::kDouble), at::cat({expected.narrow(0, 9, 2), expected.narrow(0, 0, 3)}), 1e-15);
  }
}

// A first part of all rows and few others is added to where it lies; the sum is the same, and stays it when asked twice.
TEST(RowSum, FewRowsAreAddedInPlace) {
  at::manual_seed(2);
  RowSum sum(zeros(), kRows, at::kDouble);
  const at::Tensor all = part(kRows), few = part(3);
  at::Tensor expected = all.clone();
  expected.narrow(0, 7, 3).add_(few);
  sum.add({0, kRows}, all);
  sum.add({7, 10}, few);
  EXPECT_TENSOR_EQUAL(sum.all(at::kDouble), expected);
  EXPECT_TENSOR_EQUAL(sum.all(at::kDouble), expected);
  EXPECT_EQ(sum.all(at::kDouble).const_data_ptr(), all.const_data_ptr());
}

TEST(RowSum, OneSampleAndAScale) {
  at::manual_seed(3);
  RowSum sum(zeros(), kRows, at::kDouble);
  const at::Tensor of_sample = part(4, 1), scaled = part(5);
  at::Tensor expected = zeros();
  expected.narrow(0, 2, 5).add_(scaled * 0.25);
  expected.narrow(0, 3, 4).narrow(1, 1, 1).add_(of_sample);
  sum.add({2, 7}, scaled, at::full({1}, 0.25f));
  sum.add_sample({3, 7}, 1, of_sample);
  EXPECT_TENSOR_NEAR(sum.all(at::kDouble), expected, 1e-15);
}

TEST(RowSum, RowsOfAnotherSum) {
  at::manual_seed(4);
  RowSum other(zeros(), kRows, at::kDouble), sum(zeros(), 5, at::kDouble);
  other.add({0, 8}, part(8));
  other.add({6, 12}, part(6));
  const std::vector<PositionRange> ranges{{1, 3}, {7, 10}};
  const at::Tensor expected = other.rows(ranges, at::kDouble);
  sum.add_rows_of(other, ranges);
  EXPECT_TENSOR_NEAR(sum.all(at::kDouble), expected, 1e-15);
}

// What travels in fp16: the sum of parts that have a factor in common, without it.
TEST(RowSum, WithoutTheFactorOfItsParts) {
  at::manual_seed(5);
  const at::Tensor scale = at::full({1}, 0.0625f);
  const auto half = [](std::int64_t rows) { return at::randn({rows, 2, 3, 4}).to(at::kHalf); };
  const std::vector<PositionRange> all{{0, kRows}}, some{{9, 11}, {0, 3}};
  const at::Tensor one = half(kRows);
  RowSum sum(zeros(), kRows, at::kFloat);
  sum.add({0, kRows}, one, scale);
  EXPECT_EQ(sum.rows_unscaled(all, scale).const_data_ptr(), one.const_data_ptr());  // nothing is copied
  EXPECT_TENSOR_EQUAL(sum.rows_unscaled(some, scale), at::cat({one.narrow(0, 9, 2), one.narrow(0, 0, 3)}));
  at::Tensor expected = one.to(at::kFloat);
  for (int i = 0; i < 7; ++i) {  // on the way it is folded, and the factor is in it
    const at::Tensor few = half(4);
    sum.add({i, i + 4}, few, scale);
    expected.narrow(0, i, 4).add_(few);
    const at::Tensor got = sum.rows_unscaled(all, scale);
    EXPECT_EQ(got.scalar_type(), at::kHalf);
    EXPECT_TENSOR_NEAR(got.to(at::kFloat), expected, 1.0 / 2048);
  }
  EXPECT_TENSOR_EQUAL(RowSum(zeros(), kRows, at::kFloat).rows_unscaled(some, scale), at::zeros({5, 2, 3, 4}, at::kHalf));
}

TEST(RowSum, RefusesRowsOutside) {
  RowSum sum(zeros(), kRows, at::kDouble);
  EXPECT_ANY_THROW(sum.add({8, 13}, part(5)));
  EXPECT_ANY_THROW(sum.add({0, 4}, part(5)));
}

}  // namespace
}  // namespace ringtron::internal

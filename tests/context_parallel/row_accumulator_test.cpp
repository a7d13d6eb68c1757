// Sums and softmax-weighted means of parts that wait: against adding each part at once.
#include "ringtron/context_parallel/block/row_accumulator.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "ringtron/context_parallel/block/block_attention.h"
#include "ringtron/kernels/softmax_merge/softmax_merge.h"
#include "tests/context_parallel/attention_case.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

constexpr std::int64_t kRows = 12;

at::Tensor part(std::int64_t rows, std::int64_t samples = 2) { return at::randn({rows, samples, 3, 4}, at::kDouble); }

RowAccumulator sum_of(std::int64_t rows) { return {RowAccumulator::Kind::sum, part(0), rows, at::kDouble}; }

at::Tensor zeros() { return at::zeros({kRows, 2, 3, 4}, at::kDouble); }

TEST(RowAccumulatorSum, AnyNumberOfPartsInTheirRows) {
  at::manual_seed(1);
  for (const int count : {0, 1, 2, 4, 5, 11}) {
    RowAccumulator sum = sum_of(kRows);
    at::Tensor expected = zeros();
    for (int i = 0; i < count; ++i) {
      const PositionRange rows{i % 5, 6 + i % 7};
      const at::Tensor x = part(rows.length());
      expected.narrow(0, rows.begin, rows.length()).add_(x);
      sum.add(rows, -1, x);
    }
    EXPECT_TENSOR_NEAR(sum.result(at::kDouble).x, expected, 1e-15);
    const std::vector<PositionRange> ranges{{9, 11}, {0, 3}};
    EXPECT_TENSOR_NEAR(sum.rows(ranges), at::cat({expected.narrow(0, 9, 2), expected.narrow(0, 0, 3)}), 1e-15);
  }
}

// A first part of all rows and few others is added to where it lies; the sum is the same, and stays it when asked
// twice.
TEST(RowAccumulatorSum, FewRowsAreAddedInPlace) {
  at::manual_seed(2);
  RowAccumulator sum = sum_of(kRows);
  const at::Tensor all = part(kRows), few = part(3);
  at::Tensor expected = all.clone();
  expected.narrow(0, 7, 3).add_(few);
  sum.add({0, kRows}, -1, all);
  sum.add({7, 10}, -1, few);
  EXPECT_TENSOR_EQUAL(sum.result(at::kDouble).x, expected);
  EXPECT_TENSOR_EQUAL(sum.result(at::kDouble).x, expected);
  EXPECT_EQ(sum.result(at::kDouble).x.const_data_ptr(), all.const_data_ptr());
}

TEST(RowAccumulatorSum, OneSample) {
  at::manual_seed(3);
  RowAccumulator sum = sum_of(kRows);
  const at::Tensor of_sample = part(4, 1), of_all = part(5);
  at::Tensor expected = zeros();
  expected.narrow(0, 2, 5).add_(of_all);
  expected.narrow(0, 3, 4).narrow(1, 1, 1).add_(of_sample);
  sum.add({2, 7}, -1, of_all);
  sum.add({3, 7}, 1, of_sample);
  EXPECT_TENSOR_NEAR(sum.result(at::kDouble).x, expected, 1e-15);
}

// More ranges than are worth a launch each.
TEST(RowAccumulatorSum, RowsOfManyRanges) {
  at::manual_seed(4);
  RowAccumulator sum = sum_of(40);
  at::Tensor expected = at::zeros({40, 2, 3, 4}, at::kDouble);
  for (int i = 0; i < 3; ++i) {
    const at::Tensor x = part(30);
    sum.add({i, i + 30}, -1, x);
    expected.narrow(0, i, 30).add_(x);
  }
  std::vector<PositionRange> ranges;
  std::vector<at::Tensor> rows;
  for (std::int64_t i = 0; i < 12; ++i) {
    ranges.push_back({3 * i, 3 * i + 2});
    rows.push_back(expected.narrow(0, 3 * i, 2));
  }
  EXPECT_TENSOR_NEAR(sum.rows(ranges), at::cat(rows), 1e-15);
}

TEST(RowAccumulatorSum, RefusesRowsOutside) {
  RowAccumulator sum = sum_of(kRows);
  EXPECT_ANY_THROW(sum.add({8, 13}, -1, part(5)));
  EXPECT_ANY_THROW(sum.add({0, 4}, -1, part(5)));
  EXPECT_ANY_THROW(sum.add_sink(at::zeros({3}, at::kDouble)));
}

constexpr double kInfinity = std::numeric_limits<double>::infinity();

RowAccumulator softmax_of(const at::Tensor& q, std::int64_t value_size = 0) {
  const at::Tensor like = at::empty({0, q.size(1), q.size(2), value_size > 0 ? value_size : q.size(3)}, q.options());
  return {RowAccumulator::Kind::softmax, like, q.size(0), at::kDouble};
}

// Attention over `keys` rows from `begin`, no mask.
BlockResult block_part(const testing::AttentionCase& c, std::int64_t begin, std::int64_t keys) {
  return make_composed_block_attention()->forward(c.q, c.k.narrow(0, begin, keys), c.v.narrow(0, begin, keys),
                                                  {.scale = c.call.scale});
}

TEST(SoftmaxMerge, PartsInAnyOrderAreTheWhole) {
  const testing::AttentionCase c = testing::make_case({});
  const BlockResult whole = block_part(c, 0, 48);
  const std::int64_t begins[] = {0, 5, 20, 48}, lengths[] = {5, 15, 28, 0};
  const int orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}};
  for (const auto& order : orders) {
    RowAccumulator sum = softmax_of(c.q);
    for (const int i : order) {
      const BlockResult p = block_part(c, begins[i], lengths[i]);
      sum.add({0, p.out.size(0)}, -1, p.out, p.lse);
    }
    EXPECT_TENSOR_NEAR(sum.result(at::kDouble).x, whole.out, 1e-14);
    EXPECT_TENSOR_NEAR(sum.result(at::kDouble).lse, whole.lse, 1e-14);
  }
}

TEST(SoftmaxMerge, OneMergeLeftOutIsSeen) {
  const testing::AttentionCase c = testing::make_case({});
  RowAccumulator sum = softmax_of(c.q);
  const BlockResult p = block_part(c, 0, 40);
  sum.add({0, p.out.size(0)}, -1, p.out, p.lse);
  EXPECT_FALSE(testing::tensor_near(sum.result(at::kDouble).x, block_part(c, 0, 48).out, 1e-6));
}

TEST(SoftmaxMerge, EmptyPartsGiveZeroAndMinusInfinityNotNan) {
  at::Tensor out = at::zeros({3, 1, 2, 4}, at::kDouble), lse = at::full({1, 2, 3}, -kInfinity, at::kDouble);
  const at::Tensor none_out = out.clone(), none_lse = lse.clone();
  softmax_merge(out, lse, none_out, none_lse);
  EXPECT_TENSOR_EQUAL(out, none_out);
  EXPECT_TENSOR_EQUAL(lse, none_lse);

  const at::Tensor some_out = testing::random_tensor({3, 1, 2, 4}, 5), some_lse = testing::random_tensor({1, 2, 3}, 6);
  softmax_merge(out, lse, some_out, some_lse);
  EXPECT_TENSOR_EQUAL(out, some_out);
  EXPECT_TENSOR_EQUAL(lse, some_lse);
  softmax_merge(out, lse, none_out, none_lse);
  EXPECT_TENSOR_EQUAL(out, some_out);
  EXPECT_TENSOR_EQUAL(lse, some_lse);
}

TEST(SoftmaxMerge, FarApartScoresDoNotOverflow) {
  at::Tensor out = at::full({1, 1, 1, 1}, 2.0), lse = at::full({1, 1, 1}, 3e38);
  softmax_merge(out, lse, at::full({1, 1, 1, 1}, 5.0), at::full({1, 1, 1}, -3e38));
  EXPECT_EQ(out.item<float>(), 2.0f);
  EXPECT_EQ(lse.item<float>(), 3e38f);
}

TEST(RowAccumulatorSoftmax, RowsThatNothingCoversAreEmpty) {
  const at::Tensor q = testing::random_tensor({4, 1, 2, 3}, 1);
  RowAccumulator sum = softmax_of(q);
  const at::Tensor out = testing::random_tensor({2, 1, 2, 3}, 2), lse = testing::random_tensor({1, 2, 2}, 3);
  sum.add({2, 4}, -1, out, lse);
  EXPECT_TENSOR_EQUAL(sum.result(at::kDouble).x.narrow(0, 2, 2), out);
  EXPECT_TENSOR_EQUAL(sum.result(at::kDouble).x.narrow(0, 0, 2), at::zeros_like(out));
  EXPECT_TRUE(sum.result(at::kDouble).lse.narrow(2, 0, 2).isneginf().all().item<bool>());
}

TEST(RowAccumulatorSoftmax, ValuesMayHaveAnotherHeadSize) {
  const at::Tensor q = testing::random_tensor({4, 1, 2, 3}, 1);
  const at::Tensor out = testing::random_tensor({2, 1, 2, 5}, 2), lse = testing::random_tensor({1, 2, 2}, 3);
  RowAccumulator sum = softmax_of(q, 5), nothing = softmax_of(q, 5);
  sum.add({1, 3}, -1, out, lse);
  EXPECT_TENSOR_EQUAL(sum.result(at::kDouble).x.narrow(0, 1, 2), out);
  EXPECT_TENSOR_EQUAL(nothing.result(at::kDouble).x, at::zeros({4, 1, 2, 5}, at::kDouble));
  EXPECT_ANY_THROW(softmax_of(q).add({1, 3}, -1, out, lse));
}

TEST(RowAccumulatorSoftmax, TheOnlyPartIsTheResult) {
  const at::Tensor q = testing::random_tensor({2, 1, 2, 3}, 1);
  const at::Tensor out = testing::random_tensor({2, 1, 2, 3}, 2), lse = testing::random_tensor({1, 2, 2}, 3);
  RowAccumulator sum = softmax_of(q);
  sum.add({0, out.size(0)}, -1, out, lse);
  EXPECT_EQ(sum.result(at::kDouble).x.const_data_ptr(), out.const_data_ptr());
  EXPECT_EQ(sum.result(at::kDouble).lse.const_data_ptr(), lse.const_data_ptr());
}

// A part of a few rows is merged where the first one lies; the result is that of a merge of everything.
TEST(RowAccumulatorSoftmax, FewRowsAreMergedInPlace) {
  const at::Tensor q = testing::random_tensor({8, 1, 2, 3}, 1);
  const at::Tensor out = testing::random_tensor({8, 1, 2, 3}, 2), lse = testing::random_tensor({1, 2, 8}, 3);
  const at::Tensor few = testing::random_tensor({2, 1, 2, 3}, 4), few_lse = testing::random_tensor({1, 2, 2}, 5);
  at::Tensor expected = out.clone(), expected_lse = lse.clone();
  at::Tensor rows = expected.narrow(0, 5, 2), rows_lse = expected_lse.narrow(2, 5, 2);
  softmax_merge(rows, rows_lse, few, few_lse);
  RowAccumulator sum = softmax_of(q);
  sum.add({0, out.size(0)}, -1, out, lse);
  sum.add({5, 7}, -1, few, few_lse);
  const RowAccumulator::Result result = sum.result(at::kDouble);
  EXPECT_TENSOR_EQUAL(result.x, expected);
  EXPECT_TENSOR_EQUAL(result.lse, expected_lse);
}

}  // namespace
}  // namespace ringtron

#include "ringtron/context_parallel/softmax_merge.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

#include "ringtron/context_parallel/block_attention.h"
#include "tests/context_parallel/attention_case.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Attention over `keys` rows from `begin`, no mask.
BlockResult part(const testing::AttentionCase& c, std::int64_t begin, std::int64_t keys) {
  return make_composed_block_attention()->forward(c.q, c.k.narrow(0, begin, keys), c.v.narrow(0, begin, keys),
                                                  {.scale = c.call.scale});
}

TEST(SoftmaxMerge, PartsInAnyOrderAreTheWhole) {
  const testing::AttentionCase c = testing::make_case({});
  const BlockResult whole = part(c, 0, 48);
  const std::int64_t begins[] = {0, 5, 20, 48}, lengths[] = {5, 15, 28, 0};
  const int orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}};
  for (const auto& order : orders) {
    SoftmaxAccumulator sum(c.q);
    for (const int i : order) {
      const BlockResult p = part(c, begins[i], lengths[i]);
      sum.merge(0, p.out, p.lse);
    }
    EXPECT_TENSOR_NEAR(sum.result().out, whole.out, 1e-14);
    EXPECT_TENSOR_NEAR(sum.result().lse, whole.lse, 1e-14);
  }
}

TEST(SoftmaxMerge, OneMergeLeftOutIsSeen) {
  const testing::AttentionCase c = testing::make_case({});
  SoftmaxAccumulator sum(c.q);
  const BlockResult p = part(c, 0, 40);
  sum.merge(0, p.out, p.lse);
  EXPECT_FALSE(testing::tensor_near(sum.result().out, part(c, 0, 48).out, 1e-6));
}

TEST(SoftmaxMerge, EmptyPartsGiveZeroAndMinusInfinityNotNan) {
  at::Tensor out = at::zeros({3, 1, 2, 4}, at::kDouble), lse = at::full({1, 2, 3}, -kInfinity, at::kDouble);
  const at::Tensor none_out = out.clone(), none_lse = lse.clone();
  softmax_merge(out, lse, none_out, none_lse);
  EXPECT_TENSOR_EQUAL(out, none_out);
  EXPECT_TENSOR_EQUAL(lse, none_lse);

  const at::Tensor some_out = testing::random_tensor({3, 1, 2, 4}, 5),
                   some_lse = testing::random_tensor({1, 2, 3}, 6);
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

TEST(SoftmaxAccumulator, RowsThatNothingCoversAreEmpty) {
  const at::Tensor q = testing::random_tensor({4, 1, 2, 3}, 1);
  SoftmaxAccumulator sum(q);
  const at::Tensor out = testing::random_tensor({2, 1, 2, 3}, 2), lse = testing::random_tensor({1, 2, 2}, 3);
  sum.merge(2, out, lse);
  EXPECT_TENSOR_EQUAL(sum.result().out.narrow(0, 2, 2), out);
  EXPECT_TENSOR_EQUAL(sum.result().out.narrow(0, 0, 2), at::zeros_like(out));
  EXPECT_TRUE(sum.result().lse.narrow(2, 0, 2).isneginf().all().item<bool>());
}

TEST(SoftmaxAccumulator, ValuesMayHaveAnotherHeadSize) {
  const at::Tensor q = testing::random_tensor({4, 1, 2, 3}, 1);
  const at::Tensor out = testing::random_tensor({2, 1, 2, 5}, 2), lse = testing::random_tensor({1, 2, 2}, 3);
  SoftmaxAccumulator sum(q, 5), nothing(q, 5);
  sum.merge(1, out, lse);
  EXPECT_TENSOR_EQUAL(sum.result().out.narrow(0, 1, 2), out);
  EXPECT_TENSOR_EQUAL(nothing.result().out, at::zeros({4, 1, 2, 5}, at::kDouble));
  EXPECT_ANY_THROW(SoftmaxAccumulator(q).merge(1, out, lse));
}

TEST(SoftmaxAccumulator, TheOnlyPartIsTheResult) {
  const at::Tensor q = testing::random_tensor({2, 1, 2, 3}, 1);
  const at::Tensor out = testing::random_tensor({2, 1, 2, 3}, 2), lse = testing::random_tensor({1, 2, 2}, 3);
  SoftmaxAccumulator sum(q);
  sum.merge(0, out, lse);
  EXPECT_EQ(sum.result().out.const_data_ptr(), out.const_data_ptr());
  EXPECT_EQ(sum.result().lse.const_data_ptr(), lse.const_data_ptr());
}

// A part of a few rows is merged where the first one lies; the result is that of a merge of everything.
TEST(SoftmaxAccumulator, FewRowsAreMergedInPlace) {
  const at::Tensor q = testing::random_tensor({8, 1, 2, 3}, 1);
  const at::Tensor out = testing::random_tensor({8, 1, 2, 3}, 2), lse = testing::random_tensor({1, 2, 8}, 3);
  const at::Tensor few = testing::random_tensor({2, 1, 2, 3}, 4), few_lse = testing::random_tensor({1, 2, 2}, 5);
  at::Tensor expected = out.clone(), expected_lse = lse.clone();
  at::Tensor rows = expected.narrow(0, 5, 2), rows_lse = expected_lse.narrow(2, 5, 2);
  softmax_merge(rows, rows_lse, few, few_lse);
  SoftmaxAccumulator sum(q);
  sum.merge(0, out, lse);
  sum.merge(5, few, few_lse);
  const SoftmaxAccumulator::Result result = sum.result();
  EXPECT_TENSOR_EQUAL(result.out, expected);
  EXPECT_TENSOR_EQUAL(result.lse, expected_lse);
}

}  // namespace
}  // namespace ringtron

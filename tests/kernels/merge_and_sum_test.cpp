// Merging attention results, summing parts and copying rows: plain loops in fp64 are the truth.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "ringtron/kernels/copy_rows/copy_rows.h"
#include "ringtron/kernels/softmax_merge/softmax_merge.h"
#include "ringtron/kernels/sum_parts/sum_parts.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

TEST(MergeParts, RowsWithoutAPartAreThoseOfTheFirst) {
  at::manual_seed(3);
  const SoftmaxPart a{at::randn({5, 2, 3, 4}, at::kDouble), at::randn({2, 3, 5}, at::kDouble)};
  const SoftmaxPart b{at::randn({2, 2, 3, 4}, at::kDouble), at::randn({2, 3, 2}, at::kDouble), 3};
  SoftmaxPart whole{at::empty_like(a.out), at::empty_like(a.lse)};
  merge_parts(whole, std::vector<SoftmaxPart>{a, b});
  EXPECT_TENSOR_EQUAL(whole.out.narrow(0, 0, 3), a.out.narrow(0, 0, 3));
  EXPECT_TENSOR_EQUAL(whole.lse.narrow(2, 0, 3), a.lse.narrow(2, 0, 3));
  for (int row = 3; row < 5; ++row) {
    const double la = a.lse[1][2][row].item<double>(), lb = b.lse[1][2][row - 3].item<double>();
    const double lse = std::log(std::exp(la) + std::exp(lb));
    EXPECT_NEAR(whole.lse[1][2][row].item<double>(), lse, 1e-14);
    const double out = a.out[row][1][2][0].item<double>() * std::exp(la - lse) +
                       b.out[row - 3][1][2][0].item<double>() * std::exp(lb - lse);
    EXPECT_NEAR(whole.out[row][1][2][0].item<double>(), out, 1e-14);
  }
}

TEST(MergeParts, TheWholeMayBeTheFirst) {
  at::manual_seed(4);
  const SoftmaxPart a{at::randn({4, 1, 2, 8}, at::kDouble), at::randn({1, 2, 4}, at::kDouble)};
  const SoftmaxPart b{at::randn({4, 1, 2, 8}, at::kDouble), at::randn({1, 2, 4}, at::kDouble)};
  SoftmaxPart apart{at::empty_like(a.out), at::empty_like(a.lse)}, in_place{a.out.clone(), a.lse.clone()};
  merge_parts(apart, std::vector<SoftmaxPart>{a, b});
  merge_parts(in_place, std::vector<SoftmaxPart>{in_place, b});
  EXPECT_TENSOR_EQUAL(in_place.out, apart.out);
  EXPECT_TENSOR_EQUAL(in_place.lse, apart.lse);
}

TEST(SumParts, AddsRowsWhereTheyBelong) {
  at::Tensor sum = at::full({4, 2}, 77.0, at::kDouble);
  const std::vector<RowPart> parts{{at::full({3, 2}, 1.0, at::kDouble), 1},
                                   {at::full({9, 2}, 5.0, at::kDouble), 3},
                                   {at::full({1, 2}, 100.0, at::kDouble), 0}};
  sum_parts(sum, 2, parts);  // rows 2 to 5 of the whole
  EXPECT_TENSOR_EQUAL(sum.select(1, 0), at::tensor({1.0, 6.0, 5.0, 5.0}, at::kDouble));
  at::Tensor nothing = at::full({4, 2}, 77.0);
  sum_parts(nothing, 0, {});
  EXPECT_TENSOR_EQUAL(nothing, at::zeros({4, 2}));
}

TEST(SumParts, RoundsOnce) {
  // 1 + 2^-9 + 2^-9 is representable in bf16 only if the small ones are added first or the sum is wide.
  at::Tensor sum = at::empty({1, 1}, at::kBFloat16);
  const auto bf16 = [](double x) { return at::full({1, 1}, x).to(at::kBFloat16); };
  sum_parts(sum, 0, std::vector<RowPart>{{bf16(1.0), 0}, {bf16(std::ldexp(1, -8)), 0}, {bf16(std::ldexp(1, -8)), 0}});
  EXPECT_EQ(sum.item<float>(), 1.0f + std::ldexp(1.0f, -7));
}

TEST(CopyRows, CopiesBetweenSlices) {
  const at::Tensor from = at::arange(2 * 3 * 4 * 5, at::kFloat).view({2, 3, 4, 5});
  at::Tensor to = at::zeros({6, 3, 4, 5});
  copy_rows(std::vector<RowCopy>{{to.narrow(0, 4, 2).narrow(2, 1, 2), from.narrow(2, 2, 2)}});
  EXPECT_TENSOR_EQUAL(to.narrow(0, 4, 2).narrow(2, 1, 2).contiguous(), from.narrow(2, 2, 2).contiguous());
  EXPECT_EQ(to.count_nonzero().item<std::int64_t>(), 2 * 3 * 2 * 5);  // and nothing else
  EXPECT_ANY_THROW(copy_rows(std::vector<RowCopy>{{to, from}}));
}

}  // namespace
}  // namespace ringtron

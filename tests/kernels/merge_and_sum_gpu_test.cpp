// The kernels that merge, sum, copy and scale, against the same functions on the CPU.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "ringtron/kernels/copy_rows/copy_rows.h"
#include "ringtron/kernels/softmax_merge/softmax_merge.h"
#include "ringtron/kernels/sum_parts/sum_parts.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// fp32 sums and the fast exponential unit.
constexpr double kTolerance = 2e-6;
constexpr at::ScalarType kTypes[] = {at::kFloat, at::kHalf, at::kBFloat16};

class MergeAndSumGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (c10::cuda::device_count() == 0) GTEST_SKIP() << "no GPU";
    at::manual_seed(11);
  }
};

SoftmaxPart random_part(std::int64_t rows, std::int64_t b, std::int64_t n, std::int64_t d, at::ScalarType type) {
  SoftmaxPart part{at::randn({rows, b, n, d}).to(type), at::randn({b, n, rows}) * 3};
  part.lse.masked_fill_(at::rand({b, n, rows}).lt(0.2), -kInfinity);
  // What a row without keys holds must not matter.
  part.out.masked_fill_(part.lse.permute({2, 0, 1}).unsqueeze(-1).isneginf(), NAN);
  return part;
}

SoftmaxPart on_gpu(const SoftmaxPart& part) {
  // Another order in memory, as varlen kernels write it.
  const at::Tensor lse = part.lse.permute({2, 0, 1}).contiguous().to(at::kCUDA).permute({1, 2, 0});
  return {part.out.to(at::kCUDA), lse, part.first_row};
}

// NaN where there are no keys would spoil the plain operations.
SoftmaxPart without_nan(const SoftmaxPart& part) {
  return {part.out.to(at::kFloat).nan_to_num(0.0), part.lse, part.first_row};
}

TEST_F(MergeAndSumGpu, MergeEqualsTheCpu) {
  for (const at::ScalarType type_a : kTypes) {
    for (const at::ScalarType type_b : kTypes) {
      for (const std::int64_t d : {8, 96, 128, 256}) {
        const SoftmaxPart a = random_part(37, 2, 3, d, type_a);
        SoftmaxPart b = random_part(20, 2, 3, d, type_b);
        b.first_row = 17;
        SoftmaxPart expected{at::empty({37, 2, 3, d}), at::empty({2, 3, 37})};
        merge_parts(expected, std::vector<SoftmaxPart>{without_nan(a), without_nan(b)});
        SoftmaxPart whole{at::full({37, 2, 3, d}, NAN, at::kCUDA), at::full({2, 3, 37}, NAN, at::kCUDA)};
        merge_parts(whole, std::vector<SoftmaxPart>{on_gpu(a), on_gpu(b)});
        EXPECT_TENSOR_NEAR(whole.out.cpu(), expected.out, kTolerance);
        EXPECT_TENSOR_NEAR(whole.lse.cpu().exp(), expected.lse.exp(), kTolerance);
        b.first_row = 16;  // one row off must be seen
        merge_parts(whole, std::vector<SoftmaxPart>{on_gpu(a), on_gpu(b)});
        EXPECT_FALSE(testing::tensor_near(whole.out.cpu(), expected.out, 1e-2));
      }
    }
  }
}

// A block of threads takes sixteen heads at a time: numbers that fill none, one or more.
TEST_F(MergeAndSumGpu, MergeOfAnyNumberOfHeadsAndParts) {
  for (const at::ScalarType type : kTypes) {
    for (const std::int64_t heads : {1, 16, 17, 33}) {
      std::vector<SoftmaxPart> parts, cpu_parts, gpu_parts;
      for (int count = 1; count <= static_cast<int>(kMostMerged); ++count) {
        // The first covers all rows, the others fewer and fewer.
        parts.push_back(random_part(13 - 3 * (count - 1), 1, heads, 128, type));
        parts.back().first_row = 2 * (count - 1);
        cpu_parts.push_back(without_nan(parts.back()));
        gpu_parts.push_back(on_gpu(parts.back()));
        SoftmaxPart expected{at::empty({13, 1, heads, 128}), at::empty({1, heads, 13})};
        merge_parts(expected, cpu_parts);
        SoftmaxPart whole{at::full({13, 1, heads, 128}, NAN, at::kCUDA), at::full({1, heads, 13}, NAN, at::kCUDA)};
        merge_parts(whole, gpu_parts);
        SCOPED_TRACE(::testing::Message() << count << " parts of " << heads << " heads in " << c10::toString(type));
        EXPECT_TENSOR_NEAR(whole.out.cpu(), expected.out, kTolerance);
        EXPECT_TENSOR_NEAR(whole.lse.cpu().exp(), expected.lse.exp(), kTolerance);
      }
    }
  }
}

// As RowAccumulator does where most rows need no merge: the first part has all rows and becomes the whole.
TEST_F(MergeAndSumGpu, MergeInPlaceOf16Bits) {
  for (const at::ScalarType type : {at::kHalf, at::kBFloat16}) {
    const SoftmaxPart a = random_part(9, 2, 5, 128, type);
    SoftmaxPart b = random_part(4, 2, 5, 128, type);
    b.first_row = 3;
    SoftmaxPart expected{at::empty({9, 2, 5, 128}, type), at::empty({2, 5, 9})};
    merge_parts(expected, std::vector<SoftmaxPart>{without_nan(a), without_nan(b)});
    SoftmaxPart whole = on_gpu(a);
    merge_parts(whole, std::vector<SoftmaxPart>{whole, on_gpu(b)});
    EXPECT_TENSOR_NEAR(whole.out.cpu().to(at::kFloat), expected.out.to(at::kFloat), 1e-2);
    EXPECT_TENSOR_NEAR(whole.lse.cpu().exp(), expected.lse.exp(), kTolerance);
  }
}

TEST_F(MergeAndSumGpu, MergeInPlaceAndForOneSample) {
  SoftmaxPart a = without_nan(random_part(33, 2, 4, 64, at::kFloat));
  const SoftmaxPart b = random_part(33, 1, 4, 64, at::kHalf);
  SoftmaxPart gpu = on_gpu(a);
  SoftmaxPart sample{a.out.narrow(1, 1, 1), a.lse.narrow(0, 1, 1)};
  merge_parts(sample, std::vector<SoftmaxPart>{sample, without_nan(b)});
  SoftmaxPart gpu_sample{gpu.out.narrow(1, 1, 1), gpu.lse.narrow(0, 1, 1)};
  merge_parts(gpu_sample, std::vector<SoftmaxPart>{gpu_sample, on_gpu(b)});
  EXPECT_TENSOR_NEAR(gpu.out.cpu(), a.out, kTolerance);
}

TEST_F(MergeAndSumGpu, SumEqualsTheCpu) {
  for (const at::ScalarType type : kTypes) {
    std::vector<RowPart> parts{{at::randn({20, 2, 8}).to(at::kHalf), 3},
                               {at::randn({5, 2, 8}).to(at::kBFloat16), 9},
                               {at::randn({40, 2, 8}), 0}};
    at::Tensor expected = at::empty({25, 2, 8}, type);
    sum_parts(expected, 4, parts);
    for (RowPart& part : parts) part.x = part.x.to(at::kCUDA);
    at::Tensor sum = at::full({25, 2, 8}, NAN, expected.options().device(at::kCUDA));
    sum_parts(sum, 4, parts);
    EXPECT_TENSOR_EQUAL(sum.cpu(), expected);
    parts[1].first_row = 10;  // one row off must be seen
    sum_parts(sum, 4, parts);
    EXPECT_FALSE(testing::tensor_equal(sum.cpu(), expected));
  }
}

// More copies than one launch takes, slices of heads, and sizes that the kernel must leave to plain copies.
TEST_F(MergeAndSumGpu, CopiesOfRowsAreTheCpus) {
  for (const std::int64_t d : {8, 64, 5}) {
    const at::Tensor from = at::randn({60, 2, 6, d}).to(at::kBFloat16);
    at::Tensor expected = at::zeros({90, 2, 6, d}, at::kBFloat16), got = at::zeros_like(expected).to(at::kCUDA);
    const at::Tensor from_gpu = from.to(at::kCUDA);
    std::vector<RowCopy> on_cpu, on_gpu;
    for (std::int64_t i = 0; i < 30; ++i) {
      const auto copy = [&](const at::Tensor& to, const at::Tensor& x) {
        return RowCopy{to.narrow(0, 3 * i, 2).narrow(2, 2, 3), x.narrow(0, 58 - 2 * i, 2).narrow(2, 1, 3)};
      };
      on_cpu.push_back(copy(expected, from));
      on_gpu.push_back(copy(got, from_gpu));
    }
    copy_rows(on_cpu);
    copy_rows(on_gpu);
    EXPECT_TENSOR_EQUAL(got.cpu(), expected);
  }
}

}  // namespace
}  // namespace ringtron

// Dropout on the GPU against its CPU truth, bit for bit: the same words, one multiplication.
#include "ringtron/kernels/dropout/dropout.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

struct Case {
  std::int64_t s, b, h, first_position, first_sample;
};

// Widths that are no multiple of four make lines begin inside a block of words; the large position passes 2^32
// elements.
constexpr Case kCases[] = {
    {16, 2, 64, 0, 0}, {5, 3, 7, 11, 1000}, {1, 1, 1, 3, 5},
    {33, 2, 30, 1, 0}, {3, 1, 4096, 2, 17}, {2, 2, 4099, 2097152, 1L << 40},
    {0, 2, 8, 0, 0},
};

class DropoutGpu : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    if (c10::cuda::device_count() == 0) GTEST_SKIP() << "no GPU";
  }
};

DropoutRegion region_of(const Case& c) {
  const at::TensorOptions integers(at::kLong);
  return {at::arange(c.first_position, c.first_position + c.s, integers),
          at::arange(c.first_sample, c.first_sample + c.b, integers)};
}

DropoutRegion on_gpu(const DropoutRegion& region) {
  return {region.positions.to(at::kCUDA), region.sample_numbers.to(at::kCUDA)};
}

TEST_P(DropoutGpu, HasTheBitsOfTheCpu) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(::testing::Message() << c.s << " x " << c.b << " x " << c.h << " from " << c.first_position);
    const at::Tensor x = at::randn({c.s, c.b, c.h}, at::TensorOptions(at::kDouble)).to(GetParam());
    const DropoutRegion region = region_of(c);
    for (const double p : {0.1, 0.5, 0.9}) {
      const std::uint64_t key = random_key(1234, 7, 3, 1);
      const at::Tensor expected = dropout(x, p, key, region);
      EXPECT_TENSOR_EQUAL(dropout(x.to(at::kCUDA), p, key, on_gpu(region)), expected);
    }
  }
}

TEST_P(DropoutGpu, GradientHasTheBitsOfTheCpu) {
  const Case c = kCases[3];
  const std::uint64_t key = random_key(1, 2, 3, 4);
  const at::Tensor upstream = at::randn({c.s, c.b, c.h}, at::TensorOptions(at::kDouble)).to(GetParam());
  const at::Tensor on_cpu = at::ones_like(upstream).requires_grad_(true);
  dropout(on_cpu, 0.3, key, region_of(c)).backward(upstream);
  const at::Tensor on_device = at::ones_like(upstream).to(at::kCUDA).requires_grad_(true);
  dropout(on_device, 0.3, key, on_gpu(region_of(c))).backward(upstream.to(at::kCUDA));
  EXPECT_TENSOR_EQUAL(on_device.grad(), on_cpu.grad());
}

// Negative control: another key must give other bits.
TEST_P(DropoutGpu, KeyIsSeen) {
  const Case c = kCases[0];
  const at::Tensor x = at::ones({c.s, c.b, c.h}, at::TensorOptions(GetParam()));
  const at::Tensor expected = dropout(x, 0.5, random_key(1, 1, 1, 1), region_of(c));
  const at::Tensor other = dropout(x.to(at::kCUDA), 0.5, random_key(1, 1, 1, 2), on_gpu(region_of(c)));
  EXPECT_FALSE(testing::tensor_equal(other, expected));
}

INSTANTIATE_TEST_SUITE_P(Types, DropoutGpu, ::testing::Values(at::kDouble, at::kFloat, at::kBFloat16),
                         [](const auto& type) { return c10::toString(type.param); });

}  // namespace
}  // namespace ringtron

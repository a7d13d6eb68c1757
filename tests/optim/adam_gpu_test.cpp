// AdamW on a GPU against the CPU's, and a step that is skipped on the device's word alone.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include <limits>

#include "ringtron/optim/adam.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

constexpr double kFp32 = 2e-6;  // fused operations round otherwise

AdamTensors made(at::Device device) {
  const auto options = at::TensorOptions().dtype(at::kFloat);
  AdamTensors t{at::arange(1001, options).sin(), at::zeros({1001}, options), at::zeros({1001}, options),
                at::zeros({1001}, options)};
  for (at::Tensor* x : {&t.main, &t.gradient, &t.exp_avg, &t.exp_avg_sq}) *x = x->to(device);
  return t;
}

void step(AdamTensors& t, int number, double factor, float skip) {
  t.gradient.copy_((at::arange(1001, at::kFloat) * number).cos() * factor);
  const at::TensorOptions on = t.main.options();
  adamw({&t, 1}, {0.9, 0.95, 1e-8}, {1e-2, 0.1, number}, at::full({}, 0.5, on.dtype(at::kDouble)),
        at::full({1}, skip, on));
}

TEST(AdamGpu, IsTheCpusAndSkipsWhatItIsToldTo) {
  if (c10::cuda::device_count() == 0) GTEST_SKIP() << "no GPU";
  AdamTensors cpu = made(at::kCPU), gpu = made(at::kCUDA);
  for (int number = 1; number <= 3; ++number) {
    step(cpu, number, 1.0, 0.0f);
    step(gpu, number, 1.0, 0.0f);
    EXPECT_TENSOR_NEAR(gpu.main.cpu(), cpu.main, kFp32);
  }
  const at::Tensor main = gpu.main.clone(), first = gpu.exp_avg.clone(), second = gpu.exp_avg_sq.clone();
  step(gpu, 4, std::numeric_limits<double>::quiet_NaN(), 1.0f);
  EXPECT_TRUE(at::equal(gpu.main, main));
  EXPECT_TRUE(at::equal(gpu.exp_avg, first));
  EXPECT_TRUE(at::equal(gpu.exp_avg_sq, second));
  step(gpu, 4, std::numeric_limits<double>::quiet_NaN(), 0.0f);  // the control: without its word they would be gone
  EXPECT_TRUE(gpu.main.isnan().all().item<bool>());
}

}  // namespace
}  // namespace ringtron

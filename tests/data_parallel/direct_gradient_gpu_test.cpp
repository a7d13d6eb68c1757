// Weight gradients that the matrix product adds to the fp32 sum on a GPU, against fp64 on the CPU.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include "ringtron/comm/local_communicator.h"
#include "ringtron/data_parallel/gradient_reducer.h"
#include "ringtron/tensor_parallel/linear.h"
#include "tests/support/random_tensor.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

constexpr int kMicroBatches = 3;
constexpr double kRoundedProducts = 3e-3;  // dy is rounded to bf16 or fp16 in between

at::Tensor gradient(at::Device device, at::ScalarType type, bool direct) {
  LocalCommunicator alone("alone", 0);
  Parameter weight;
  weight.name = "weight";
  weight.shard.global_shape = {48, 64};
  const auto rounded = [](const at::Tensor& x) { return x.to(at::kHalf).to(at::kBFloat16); };
  weight.value = rounded(testing::random_tensor({48, 64}, 1)).to(device, type).set_requires_grad(true);
  GradientReducer reducer({&weight}, [&](AxisSet) -> Communicator& { return alone; }, {});
  for (int step = 0; step < 2; ++step) {
    reducer.begin_step(kMicroBatches);
    for (int i = 0; i < kMicroBatches; ++i) {
      const at::Tensor x = rounded(testing::random_tensor({32, 2, 64}, 10 + i)).to(device, type);
      const LinearWeight way = direct ? LinearWeight(weight) : LinearWeight(weight.value);
      const at::Tensor y = column_parallel_linear(x, way, {}, alone, false);
      y.backward(rounded(testing::random_tensor({32, 2, 48}, 20 + i)).to(device, type));
    }
    reducer.finish();
  }
  return weight.gradient.cpu().to(at::kDouble);
}

TEST(DirectGradientGpu, EqualsTheCpu) {
  if (c10::cuda::device_count() == 0) GTEST_SKIP() << "no GPU";
  const at::Tensor expected = gradient(at::kCPU, at::kDouble, false);
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
    const at::Tensor got = gradient(at::kCUDA, type, true);
    // Closer than through autograd, where each micro-batch's share is rounded.
    EXPECT_TENSOR_NEAR(got, expected, 1e-5);
    EXPECT_TENSOR_NEAR(gradient(at::kCUDA, type, false), expected,
                       type == at::kHalf ? kRoundedProducts : 8 * kRoundedProducts);
    EXPECT_FALSE(testing::tensor_near(got * 1.001, expected, 1e-5));
  }
}

}  // namespace
}  // namespace ringtron

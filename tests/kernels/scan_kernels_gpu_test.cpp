// The kernels of Mamba layers on the GPU against the composed operations in fp64 with the same rounded inputs, through
// autograd, as a model calls them. The composed ones run on the GPU too, which takes seconds where a CPU takes minutes;
// on the CPU they are compared with a plain recurrence (ssd_scan_test).
#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <random>
#include <utility>
#include <vector>

#include "ringtron/kernels/causal_conv/causal_conv.h"
#include "ringtron/kernels/gated_norm/gated_norm.h"
#include "ringtron/kernels/ssd_scan/ssd_composed.h"
#include "tests/kernels/scan_case.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using namespace testing;
using Operation = std::function<at::Tensor(const Tensors&)>;

constexpr at::ScalarType kTypes[] = {at::kFloat, at::kHalf, at::kBFloat16};

class ScanKernelsGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (c10::cuda::device_count() == 0) GTEST_SKIP() << "no GPU";
  }
};

// The result and the gradients of all inputs, brought to the CPU in fp64.
Tensors run(const Operation& operation, const Tensors& inputs, const at::Tensor& dy, at::TensorOptions where) {
  Tensors leaves;
  for (const at::Tensor& x : inputs) leaves.push_back(x.to(where).requires_grad_());
  const at::Tensor y = operation(leaves);
  Tensors all = torch::autograd::grad({y}, leaves, {dy.to(where)});
  all.insert(all.begin(), y.detach());
  for (at::Tensor& x : all) x = x.to(at::TensorOptions(at::kCPU).dtype(at::kDouble));
  return all;
}

void expect_same(const Operation& operation, Tensors inputs, at::Tensor dy, at::ScalarType type, double tolerance) {
  for (at::Tensor& x : inputs) x = x.to(type);
  dy = dy.to(type);
  const Tensors expected = run(operation, inputs, dy, at::TensorOptions(at::kCUDA).dtype(at::kDouble));
  const Tensors got = run(operation, inputs, dy, at::TensorOptions(at::kCUDA).dtype(type));
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (expected[i].numel() == 0) continue;
    EXPECT_TENSOR_NEAR(got[i], expected[i], tolerance) << "result or gradient " << i;
    // Negative control: what is off by a tenth of its size is seen.
    EXPECT_FALSE(testing::tensor_near(got[i] * 1.1, expected[i], tolerance));
  }
}

TEST_F(ScanKernelsGpu, Convolution) {
  for (const at::ScalarType type : kTypes) {
    for (unsigned key = 0; key < 12; ++key) {
      SCOPED_TRACE(key);
      std::mt19937 random(key);
      const std::int64_t rows = 1 + static_cast<std::int64_t>(random() % 400), samples = 1 + random() % 3;
      const std::int64_t channels = 4 * (1 + random() % 300), width = 2 + random() % 3;
      const auto segments = random_segments(rows, samples, 1 + static_cast<int>(random() % 350), random);
      // x is a view, as of a projection.
      const Operation operation = [&](const Tensors& in) {
        return causal_conv(in[0].narrow(2, 8, channels), in[1], in[2], in[3], segments);
      };
      expect_same(operation,
                  {random_tensor({rows, samples, channels + 24}, key), random_tensor({channels, 1, width}, key + 1000),
                   random_tensor({channels}, key + 2000),
                   random_tensor({segments->initials(), width - 1, channels}, key + 3000)},
                  random_tensor({rows, samples, channels}, key + 4000), type,
                  type == at::kFloat  ? 2e-6
                  : type == at::kHalf ? 1e-3
                                      : 8e-3);
    }
  }
}

TEST_F(ScanKernelsGpu, GatedNorm) {
  for (const at::ScalarType type : kTypes) {
    for (const std::int64_t group : {8, 264, 512, 1024, 1544, 8192}) {
      SCOPED_TRACE(group);
      const std::int64_t channels = group < 4096 ? 3 * group : group, rows = group < 512 ? 3001 : 301;
      const Operation operation = [&](const Tensors& in) {
        return gated_rms_norm(in[0], in[1].narrow(2, 8, channels), in[2], group, 1e-5);
      };
      expect_same(operation,
                  {random_tensor({rows, 2, channels}, 1), random_tensor({rows, 2, channels + 16}, 2),
                   random_tensor({channels}, 3)},
                  random_tensor({rows, 2, channels}, 4), type,
                  type == at::kFloat  ? 4e-6
                  : type == at::kHalf ? 1e-3
                                      : 8e-3);
    }
  }
}

SsdInputs on_gpu(const SsdInputs& in) {
  const auto moved = [](const at::Tensor& x) { return x.cuda(); };
  return {moved(in.x), moved(in.dt), moved(in.B), moved(in.C), moved(in.a), moved(in.d), moved(in.dt_bias)};
}

TEST_F(ScanKernelsGpu, Scan) {
  for (const at::ScalarType type : {at::kHalf, at::kBFloat16}) {
    const double products = type == at::kHalf ? 2e-3 : 1.6e-2;  // of which both sides are rounded
    for (unsigned key = 0; key < 16; ++key) {
      SCOPED_TRACE(key);
      const ScanCase c = scan_case(100 * key, type, key < 12 ? 700 : 3000);
      const SsdInputs in = on_gpu(c.in), wide = on_gpu(in_fp64(c.in));
      const at::Tensor initial = c.initial.cuda(), dy = c.dy.cuda(), d_final = c.d_final.cuda(),
                       wide_initial = initial.to(at::kDouble), wide_dy = dy.to(at::kDouble);
      SsdStates states = ssd_states(in, *c.segments, c.options);
      const SsdStates wide_states = composed::ssd_states(wide, *c.segments, c.options);
      expect_near(states.ends.state, wide_states.ends.state, products, "final states");
      expect_near(decays_of_pieces(states.ends, *c.segments), decays_of_pieces(wide_states.ends, *c.segments), 1e-4,
                  "decays");
      const at::Tensor y = ssd_outputs(in, *c.segments, c.options, std::move(states), initial);
      EXPECT_EQ(y.scalar_type(), type);
      expect_near(y, composed::ssd_outputs(wide, *c.segments, c.options, wide_states, wide_initial), products, "y");
      const auto gradients = [&] {
        SsdBackwardStates made = ssd_backward_states(in, *c.segments, c.options, dy);
        const at::Tensor of_initial = made.gradients.ends.state;
        Tensors all = listed(ssd_gradients(in, *c.segments, c.options, initial, dy, std::move(made), d_final));
        all.push_back(of_initial);
        return all;
      };
      const SsdBackwardStates wide_backward = composed::ssd_backward_states(wide, *c.segments, c.options, wide_dy);
      Tensors got = gradients(), again = gradients(),
              expected = listed(composed::ssd_gradients(wide, *c.segments, c.options, wide_initial, wide_dy,
                                                        wide_backward, d_final.to(at::kDouble)));
      expect_near(got.back(), wide_backward.gradients.ends.state, products, "gradients of initial states");
      got.pop_back();
      for (std::size_t i = 0; i < got.size(); ++i) {
        expect_near(got[i], expected[i], products, kGradientNames[i]);
        EXPECT_TENSOR_EQUAL(got[i].cpu(), again[i].cpu()) << kGradientNames[i];
      }
    }
  }
}

// As a layer calls it: views of the convolution's result and of the projection, one autograd function, a model's sizes.
TEST_F(ScanKernelsGpu, ScanOfALayer) {
  const std::int64_t rows = 1500, heads = 32, groups = 4, inner = heads * 64, shared = groups * 128;
  const auto segments = std::make_shared<const ScanSegments>(ScanSegments::whole(rows, 2));
  const Operation operation = [&](const Tensors& in) {
    const auto parts = in[0].split_with_sizes({inner, shared, shared}, 2);
    const SsdInputs inputs{parts[0].view({rows, 2, heads, 64}),
                           in[1].narrow(2, 8, heads),
                           parts[1].view({rows, 2, groups, 128}),
                           parts[2].view({rows, 2, groups, 128}),
                           -in[2].to(in[2].scalar_type() == at::kDouble ? at::kDouble : at::kFloat).exp(),
                           in[3],
                           in[4]};
    return ssd_scan(inputs, segments, {});
  };
  expect_same(operation,
              {random_tensor({rows, 2, inner + 2 * shared}, 1), random_tensor({rows, 2, heads + 8}, 2) - 3,
               random_tensor({heads}, 3) * 0.5, random_tensor({heads}, 4), random_tensor({heads}, 5)},
              random_tensor({rows, 2, heads, 64}, 6), at::kBFloat16, 1.6e-2);
}

}  // namespace
}  // namespace ringtron

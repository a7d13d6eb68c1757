// The kernels of the causal convolution and of the state-space scan, compiled for the host (on_host/), against the
// composed operations in fp64 with the same rounded inputs: their arithmetic, at any length, documents and groups.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "ringtron/kernels/causal_conv/causal_conv.h"
#include "ringtron/kernels/causal_conv/fused_conv.h"
#include "ringtron/kernels/gated_norm/fused_gated_norm.h"
#include "ringtron/kernels/gated_norm/gated_norm.h"
#include "ringtron/kernels/ssd_scan/ssd_composed.h"
#include "ringtron/kernels/ssd_scan/ssd_fused.h"
#include "tests/kernels/scan_case.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using namespace testing;

constexpr at::ScalarType kTypes[] = {at::kFloat, at::kHalf, at::kBFloat16};

class ScanKernelsOnHost : public ::testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }  // the fibers are one thread, and the truth is small
};

// Of the sizes of x, without values, its rows among those of a wider tensor.
at::Tensor within_wider(const at::Tensor& x, std::int64_t more) {
  std::vector<std::int64_t> sizes = x.sizes().vec();
  sizes.back() += 2 * more;
  return at::full(sizes, std::nan(""), x.options()).narrow(-1, more, x.size(-1));
}

struct ConvCase {
  std::shared_ptr<const ScanSegments> segments;
  Tensors inputs;  // x, weight, bias, halo
  at::Tensor dy;
};

ConvCase conv_case(unsigned key, at::ScalarType type) {
  std::mt19937 random(key);
  const std::int64_t rows = 1 + static_cast<std::int64_t>(random() % 300), samples = 1 + random() % 2;
  const std::int64_t channels = 4 + 4 * (random() % 3), width = 2 + random() % 3;
  ConvCase c;
  c.segments = random_segments(rows, samples, 1 + static_cast<int>(random() % 200), random);
  const std::int64_t more = 4 * (random() % 2);  // channels beside these, of which x is a view
  Tensors all = rounded(
      {random_tensor({rows, samples, channels + 2 * more}, key), random_tensor({channels, 1, width}, key + 1000),
       random_tensor({channels}, key + 2000), random_tensor({c.segments->initials(), width - 1, channels}, key + 3000),
       random_tensor({rows, samples, channels}, key + 4000)},
      type);
  all[0] = all[0].narrow(2, more, channels);
  c.dy = all.back();
  all.pop_back();
  c.inputs = all;
  return c;
}

// y and the four gradients.
Tensors composed_conv(const ConvCase& c) {
  Tensors leaves;
  for (const at::Tensor& x : c.inputs) leaves.push_back(x.to(at::kDouble).requires_grad_());
  const at::Tensor y = causal_conv(leaves[0], leaves[1], leaves[2], leaves[3], c.segments);
  Tensors out = torch::autograd::grad({y}, leaves, {c.dy.to(at::kDouble)});
  out.insert(out.begin(), y.detach());
  return out;
}

Tensors conv_by_kernels(const ConvCase& c) {
  const fused::ConvInputs in{c.inputs[0], c.inputs[1], c.inputs[2], c.inputs[3]};
  EXPECT_TRUE(fused::conv_fits(in));
  const fused::ConvGradients g = fused::conv_backward(in, *c.segments, c.dy, within_wider(c.inputs[0], 4), nullptr);
  return {fused::conv(in, *c.segments, nullptr), g.x, g.weight, g.bias, g.halo};
}

TEST_F(ScanKernelsOnHost, Convolution) {
  for (const at::ScalarType type : kTypes) {
    for (unsigned key = 0; key < 40; ++key) {
      SCOPED_TRACE(key);
      const ConvCase c = conv_case(key, type);
      const Tensors got = conv_by_kernels(c), expected = composed_conv(c);
      for (std::size_t i = 0; i < got.size(); ++i) {
        EXPECT_EQ(got[i].scalar_type(), type);
        if (expected[i].numel() == 0) continue;
        EXPECT_TENSOR_NEAR(got[i].to(at::kDouble), expected[i], rounding(type)) << i;
        if (i < 2 && expected[i].size(0) > 1) {  // negative control: a result that is a row late is seen
          EXPECT_FALSE(testing::tensor_near(got[i].to(at::kDouble).roll(1, 0), expected[i], rounding(type)));
        }
      }
    }
  }
}

TEST_F(ScanKernelsOnHost, GatedNorm) {
  for (const at::ScalarType type : kTypes) {
    for (const std::int64_t group : {8, 264, 512, 1024, 1544, 4096}) {
      SCOPED_TRACE(group);
      const std::int64_t channels = group < 1024 ? 3 * group : group, rows = 11;
      const Tensors t = rounded({random_tensor({rows, 2, channels}, 1), random_tensor({rows, 2, channels + 16}, 2),
                                 random_tensor({channels}, 3), random_tensor({rows, 2, channels}, 4)},
                                type);
      const fused::GatedNormInputs in{t[0], t[1].narrow(2, 8, channels), t[2], group, 1e-5};
      ASSERT_TRUE(fused::gated_norm_fits(in));
      const fused::GatedNormGradients g = fused::gated_norm_backward(in, t[3], within_wider(t[0], 8), 1, nullptr);
      const Tensors got = {fused::gated_norm(in, nullptr), g.y, g.z, g.weight};
      Tensors leaves;
      for (const at::Tensor& x : {in.y, in.z, in.weight}) leaves.push_back(x.to(at::kDouble).requires_grad_());
      const at::Tensor out = gated_rms_norm(leaves[0], leaves[1], leaves[2], group, 1e-5);
      Tensors expected = torch::autograd::grad({out}, leaves, {t[3].to(at::kDouble)});
      expected.insert(expected.begin(), out.detach());
      constexpr const char* kNames[] = {"out", "y", "z", "weight"};
      for (std::size_t i = 0; i < got.size(); ++i) expect_near(got[i], expected[i], rounding(type), kNames[i]);
    }
  }
}

constexpr unsigned kScans = 6;  // of each type and direction

TEST_F(ScanKernelsOnHost, ScanForward) {
  for (const at::ScalarType type : {at::kHalf, at::kBFloat16}) {
    const double products = 2 * rounding(type);  // of which both sides are rounded
    for (unsigned key = 0; key < kScans; ++key) {
      SCOPED_TRACE(key);
      const ScanCase c = scan_case(100 * key, type, 400);
      ASSERT_TRUE(fused::ssd_fits(c.in));
      const fused::SsdDevice device{nullptr, c.multiprocessors};
      const SsdInputs wide = in_fp64(c.in);
      SsdStates got = fused::ssd_states(c.in, *c.segments, c.options, device);
      const SsdStates expected = composed::ssd_states(wide, *c.segments, c.options);
      expect_near(got.ends.state, expected.ends.state, products, "final states");
      expect_near(decays_of_pieces(got.ends, *c.segments), decays_of_pieces(expected.ends, *c.segments), 1e-5,
                  "decays");
      const at::Tensor y = fused::ssd_outputs(c.in, *c.segments, std::move(got), c.initial, device);
      const at::Tensor expected_y =
          composed::ssd_outputs(wide, *c.segments, c.options, expected, c.initial.to(at::kDouble));
      EXPECT_EQ(y.scalar_type(), type);
      expect_near(y, expected_y, products, "y");
    }
  }
}

TEST_F(ScanKernelsOnHost, ScanBackward) {
  for (const at::ScalarType type : {at::kHalf, at::kBFloat16}) {
    const double products = 2 * rounding(type);
    for (unsigned key = 0; key < kScans; ++key) {
      SCOPED_TRACE(key);
      const ScanCase c = scan_case(100 * key + 50, type, 400);
      const fused::SsdDevice device{nullptr, c.multiprocessors};
      const SsdInputs wide = in_fp64(c.in);
      const at::Tensor dy = c.dy.to(at::kDouble);
      SsdBackwardStates states = fused::ssd_backward_states(c.in, *c.segments, c.options, c.dy, device);
      const SsdBackwardStates expected_states = composed::ssd_backward_states(wide, *c.segments, c.options, dy);
      expect_near(states.gradients.ends.state, expected_states.gradients.ends.state, products,
                  "gradients of initial states");
      const std::int64_t inner = c.in.x.size(2) * c.in.x.size(3), shared = c.in.B.size(2) * c.in.B.size(3);
      const auto whole = std::make_shared<JoinedGradient>(
          at::empty({c.in.x.size(0), c.in.x.size(1), inner + 2 * shared}, c.in.x.options()),
          std::vector<std::int64_t>{inner, shared, shared});
      SsdPlaces to;
      if (key % 2 == 0) to = {{whole, 0}, {}, {whole, 1}, {whole, 2}};
      const Tensors got = listed(fused::ssd_gradients(c.in, *c.segments, c.options,
                                                      {c.initial, c.dy, std::move(states), c.d_final, to}, device));
      const Tensors expected = listed(composed::ssd_gradients(wide, *c.segments, c.options, c.initial.to(at::kDouble),
                                                              dy, expected_states, c.d_final.to(at::kDouble)));
      for (std::size_t i = 0; i < got.size(); ++i) expect_near(got[i], expected[i], products, kGradientNames[i]);
    }
  }
}

TEST_F(ScanKernelsOnHost, ComparisonSeesFaults) {  // negative control: documents not told apart, states a little off
  unsigned key = 0;
  ScanCase c = scan_case(key, at::kHalf, 400);
  while (c.segments->list().size() < 4 || c.segments->initials() == 0) c = scan_case(++key, at::kHalf, 400);
  const fused::SsdDevice device{nullptr, c.multiprocessors};
  const SsdInputs wide = in_fp64(c.in);
  const auto whole = ScanSegments::whole(c.in.x.size(0), c.in.x.size(1));
  const at::Tensor y = composed::ssd_outputs(
      wide, *c.segments, c.options, composed::ssd_states(wide, *c.segments, c.options), c.initial.to(at::kDouble));
  const auto differs = [&](const ScanSegments& segments, const at::Tensor& initial) {
    const at::Tensor got =
        fused::ssd_outputs(c.in, segments, fused::ssd_states(c.in, segments, c.options, device), initial, device);
    return !tensor_near(got.to(at::kDouble), y, 2 * rounding(at::kHalf));
  };
  EXPECT_FALSE(differs(*c.segments, c.initial));
  EXPECT_TRUE(differs(whole, {}));
  EXPECT_TRUE(differs(*c.segments, c.initial * 1.2));
}

}  // namespace
}  // namespace ringtron

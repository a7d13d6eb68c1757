// The fused kernels of norm, activation, qkv, cross entropy, AdamW and sums of squares on the GPU, against the composed
// operations on the CPU in fp64 with the same (rounded) input.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <array>
#include <cmath>
#include <functional>
#include <vector>

#include "ringtron/kernels/activation/activation.h"
#include "ringtron/kernels/adamw/adamw.h"
#include "ringtron/kernels/cross_entropy/cross_entropy.h"
#include "ringtron/kernels/embedding/embedding.h"
#include "ringtron/kernels/norm/norm.h"
#include "ringtron/kernels/qkv/qkv.h"
#include "ringtron/kernels/sum_of_squares/sum_of_squares.h"
#include "ringtron/optim/main_weight.h"
#include "tests/support/random_tensor.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using Tensors = std::vector<at::Tensor>;
using Operation = std::function<Tensors(const Tensors&)>;

constexpr at::ScalarType kTypes[] = {at::kFloat, at::kHalf, at::kBFloat16};

class FusedKernelsGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (c10::cuda::device_count() == 0) GTEST_SKIP() << "no GPU";
    at::manual_seed(5);
  }
};

// Some roundings of a value, and one more of each of two terms of a sum.
double tolerance(at::ScalarType type) { return type == at::kFloat ? 4e-6 : type == at::kHalf ? 2e-3 : 1.2e-2; }

struct Run {
  Tensors results, gradients;
};

// Results and gradients of all inputs that are not integers, with fixed random gradients of the results.
Run run(const Operation& operation, const Tensors& inputs, at::Device device, at::ScalarType type,
        const Tensors& seeds) {
  Tensors own;
  for (const at::Tensor& x : inputs) {
    if (!x.defined() || !x.is_floating_point()) {
      own.push_back(x.defined() ? x.to(device) : x);
      continue;
    }
    own.push_back(x.to(device, type).detach().requires_grad_(true));
  }
  Run done;
  done.results = operation(own);
  Tensors roots, upstream;
  for (std::size_t i = 0; i < done.results.size(); ++i) {
    if (!done.results[i].requires_grad()) continue;
    roots.push_back(done.results[i]);
    upstream.push_back(seeds.at(i).to(device, done.results[i].scalar_type()));
  }
  torch::autograd::backward(roots, upstream);
  for (at::Tensor& x : done.results) x = x.detach().cpu().to(at::kDouble);
  for (const at::Tensor& x : own)
    done.gradients.push_back(x.defined() && x.grad().defined() ? x.grad().cpu().to(at::kDouble) : at::Tensor());
  return done;
}

// `inputs` are fp64; they and the seeds are rounded to `type` first, so that both sides see the same numbers.
void expect_same(const Operation& operation, Tensors inputs, Tensors seeds, at::ScalarType type, double times = 1.0) {
  for (Tensors* list : {&inputs, &seeds}) {
    for (at::Tensor& x : *list) {
      if (x.defined() && x.is_floating_point()) x = x.to(type).to(at::kDouble);
    }
  }
  const Run expected = run(operation, inputs, at::kCPU, at::kDouble, seeds);
  const Run got = run(operation, inputs, at::kCUDA, type, seeds);
  for (std::size_t i = 0; i < expected.results.size(); ++i) {
    EXPECT_TENSOR_NEAR(got.results[i], expected.results[i], times * tolerance(type)) << "result " << i;
  }
  for (std::size_t i = 0; i < expected.gradients.size(); ++i) {
    ASSERT_EQ(got.gradients[i].defined(), expected.gradients[i].defined()) << "gradient " << i;
    if (!expected.gradients[i].defined()) continue;
    EXPECT_TENSOR_NEAR(got.gradients[i], expected.gradients[i], times * tolerance(type)) << "gradient " << i;
    // Negative control: a gradient that is off by a tenth of its size is seen.
    EXPECT_FALSE(testing::tensor_near(got.gradients[i] * 1.1, expected.gradients[i], times * tolerance(type)));
  }
}

at::Tensor random(at::IntArrayRef sizes) { return at::randn(sizes, at::kDouble); }

TEST_F(FusedKernelsGpu, ResidualNorm) {
  for (const at::ScalarType type : kTypes) {
    for (const std::int64_t width : {8, 128, 264, 768, 4096, 8192, 16384}) {
      for (const bool rms : {true, false}) {
        for (const bool has_branch : {false, true}) {
          const bool zero_centred = width % 16 == 0 && rms != has_branch;
          const Operation operation = [&](const Tensors& in) -> Tensors {
            const ResidualNorm r = residual_norm(in[0], in[1], {in[2], in[3], 1e-5, zero_centred, rms});
            return {r.normed, r.sum * 1.0};
          };
          const Tensors inputs = {random({5, 3, width}) * 2 + 0.5, has_branch ? random({5, 3, width}) : at::Tensor(),
                                  random({width}) * 0.2 + 1, rms ? at::Tensor() : random({width})};
          expect_same(operation, inputs, {random({5, 3, width}), random({5, 3, width})}, type, 2.0);
        }
      }
    }
  }
}

// More rows than the backward has parts.
TEST_F(FusedKernelsGpu, NormOfManyRows) {
  for (const std::int64_t width : {64, 768}) {
    const Operation operation = [&](const Tensors& in) -> Tensors {
      return {residual_norm(in[0], {}, {in[1], in[2], 1e-5, false, false}).normed};
    };
    expect_same(operation, {random({3001, 2, width}), random({width}), random({width})}, {random({3001, 2, width})},
                at::kFloat, 10.0);
  }
}

TEST_F(FusedKernelsGpu, DropoutOfABranchIsThatOfTheDropoutKernel) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (const bool with_norm : {true, false}) {
      const DropoutRegion region{at::arange(7, at::kLong) * 3 + 1, at::tensor({4, 9}, at::kLong)};
      const Operation operation = [&](const Tensors& in) -> Tensors {
        const BranchDropoutOptions options{
            0.3, 77, {region.positions.to(in[0].device()), region.sample_numbers.to(in[0].device())}};
        if (!with_norm) return {residual_sum(in[0], in[1], options)};
        const ResidualNorm r = residual_norm(in[0], in[1], {in[2], {}, 1e-5, false, true}, options);
        return {r.normed, r.sum * 1.0};
      };
      expect_same(operation, {random({7, 2, 96}), random({7, 2, 96}), random({96})},
                  {random({7, 2, 96}), random({7, 2, 96})}, type, 2.0);
    }
  }
}

TEST_F(FusedKernelsGpu, Activations) {
  for (const at::ScalarType type : kTypes) {
    for (const Activation activation :
         {Activation::gelu_erf, Activation::gelu_tanh, Activation::swiglu, Activation::squared_relu}) {
      for (const std::int64_t width : {8, 264, 13696}) {
        const std::int64_t in = activation == Activation::swiglu ? 2 * width : width;
        const Operation operation = [&](const Tensors& x) -> Tensors { return {activate(x[0], activation)}; };
        expect_same(operation, {random({3, 5, in}) * 3}, {random({3, 5, width})}, type);
      }
    }
  }
}

TEST_F(FusedKernelsGpu, ActivationsOfExtremeValues) {
  const at::Tensor x = at::tensor({-1e30, -200.0, -90.0, -20.0, 20.0, 90.0, 200.0, 1e4}, at::kDouble).repeat({2, 2});
  for (const Activation activation : {Activation::gelu_erf, Activation::gelu_tanh, Activation::swiglu}) {
    at::Tensor in = x.to(at::kCUDA, at::kFloat).requires_grad_(true);
    const at::Tensor y = activate(in, activation);
    torch::autograd::backward({y}, {at::ones_like(y)});
    EXPECT_TRUE(at::isfinite(y).all().item<bool>());
    EXPECT_TRUE(at::isfinite(in.grad()).all().item<bool>());
  }
}

TEST_F(FusedKernelsGpu, SplitQkvWithRotary) {
  struct Case {
    std::int64_t groups, queries, size;
    double percent;
    bool interleaved, of_samples, rotary;
  };
  for (const Case& c : {Case{4, 1, 64, 1.0, false, false, true}, Case{2, 4, 128, 1.0, false, true, true},
                        Case{2, 3, 128, 0.5, false, false, true}, Case{3, 2, 96, 1.0, true, true, true},
                        Case{1, 8, 256, 0.25, true, false, true}, Case{2, 2, 80, 1.0, false, false, false}}) {
    for (const at::ScalarType type : kTypes) {
      const std::int64_t s = 11, b = 2, n = c.groups * c.queries;
      const at::Tensor positions =
          c.of_samples ? at::randint(0, 5000, {s, b}, at::kLong) : at::arange(s, at::kLong).unsqueeze(-1);
      const Operation operation = [&](const Tensors& in) -> Tensors {
        RotaryTable table;
        if (c.rotary) {
          const auto wide = in[0].scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
          table = rotary_table(positions, {static_cast<int>(c.size), c.percent, 1e4, c.interleaved}, wide);
          table = {table.cos.to(in[0].device()), table.sin.to(in[0].device())};
        }
        const QkvHeads heads = split_qkv(in[0], c.groups, c.queries, table, c.interleaved);
        return {heads.q, heads.k, heads.v};
      };
      expect_same(operation, {random({s, b, c.groups * (c.queries + 2) * c.size})},
                  {random({s, b, n, c.size}), random({s, b, c.groups, c.size}), random({s, b, c.groups, c.size})},
                  type);
    }
  }
}

// q/k norm in front of the rotation, with the gradients of its weights; sizes that the kernel leaves to the composed
// form.
TEST_F(FusedKernelsGpu, SplitQkvWithNormAndRotary) {
  struct Case {
    std::int64_t groups, queries, size, rows;
    bool interleaved, rotary, zero_centred, rms;
  };
  for (const Case& c : {Case{2, 4, 128, 11, false, true, false, true}, Case{4, 1, 64, 700, false, true, true, true},
                        Case{1, 2, 256, 5, true, true, false, true}, Case{2, 1, 16, 3, false, false, false, true},
                        Case{2, 2, 80, 9, false, true, false, true}, Case{2, 2, 128, 9, false, true, false, false}}) {
    for (const at::ScalarType type : kTypes) {
      const std::int64_t b = 2, n = c.groups * c.queries;
      const Operation operation = [&](const Tensors& in) -> Tensors {
        RotaryTable table;
        if (c.rotary) {
          const auto wide = in[0].scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
          table = rotary_table(at::arange(c.rows, at::kLong).unsqueeze(-1),
                               {static_cast<int>(c.size), 1.0, 1e4, c.interleaved}, wide);
          table = {table.cos.to(in[0].device()), table.sin.to(in[0].device())};
        }
        QkNorms norms{{in[1], c.rms ? at::Tensor() : in[2], 1e-5, c.zero_centred, c.rms},
                      {in[2], c.rms ? at::Tensor() : in[1], 1e-5, c.zero_centred, c.rms}};
        const QkvHeads heads = split_qkv(in[0], c.groups, c.queries, table, c.interleaved, &norms);
        return {heads.q, heads.k, heads.v};
      };
      expect_same(operation,
                  {random({c.rows, b, c.groups * (c.queries + 2) * c.size}), random({c.size}), random({c.size})},
                  {random({c.rows, b, n, c.size}), random({c.rows, b, c.groups, c.size}),
                   random({c.rows, b, c.groups, c.size})},
                  type);
    }
  }
}

TEST_F(FusedKernelsGpu, CrossEntropy) {
  for (const at::ScalarType type : kTypes) {
    for (const std::int64_t width : {8, 1000, 50304}) {
      for (const VocabularyPart& part :
           {VocabularyPart{0, width}, VocabularyPart{width, width - 3}, VocabularyPart{0, 0}}) {
        const at::Tensor logits = (random({7, 2, width}) * 4).to(type).to(at::kDouble);
        const at::Tensor targets = at::randint(0, 2 * width, {7, 2}, at::kLong),
                         d_loss = at::rand({7, 2}, at::kDouble).to(at::kFloat).to(at::kDouble);
        d_loss.select(0, 3).zero_();
        const RowStatistics expected = cross_entropy_statistics(logits, targets, part);
        const at::Tensor x = logits.to(at::kCUDA, type), ids = targets.to(at::kCUDA);
        const RowStatistics got = cross_entropy_statistics(x, ids, part);
        if (part.real == 0) {
          EXPECT_TRUE(got.peak.isneginf().all().item<bool>());
        } else {
          EXPECT_TENSOR_NEAR(got.peak.cpu(), expected.peak.to(at::kFloat), 0.0);
        }
        EXPECT_TENSOR_NEAR(got.sum.cpu(), expected.sum.to(at::kFloat), 4e-6);
        EXPECT_TENSOR_NEAR(got.predicted.cpu(), expected.predicted.to(at::kFloat), 0.0);
        const at::Tensor log_sum = at::log(at::exp(logits).sum(-1) + 1.0);
        const at::Tensor gradient = cross_entropy_gradient(logits, targets, part, log_sum, d_loss, false);
        for (const bool in_place : {false, true}) {
          const at::Tensor found = cross_entropy_gradient(x, ids, part, log_sum.to(at::kCUDA, at::kFloat),
                                                          d_loss.to(at::kCUDA, at::kFloat), in_place);
          EXPECT_TENSOR_NEAR(found.cpu().to(at::kDouble), gradient, tolerance(type));
          EXPECT_EQ(found.is_alias_of(x), in_place);
        }
      }
    }
  }
}

TEST_F(FusedKernelsGpu, EmbeddingGradient) {
  for (const at::ScalarType type : {at::kFloat, at::kHalf, at::kBFloat16}) {
    for (const auto& [rows, width, count, spread] :
         {std::array<std::int64_t, 4>{50, 8, 1, 60}, {1000, 2056, 3000, 1100}, {7, 768, 5000, 9}, {300, 4096, 64, 1}}) {
      const at::Tensor ids = at::randint(-1, spread, {count}, at::kLong);  // some are outside
      const at::Tensor dy = testing::random_tensor({count, width}, 1).to(type),
                       sum = testing::random_tensor({rows, width}, 2).to(at::kFloat);
      for (const bool begun : {false, true}) {
        SCOPED_TRACE(rows);
        at::Tensor expected = begun ? sum.to(at::kDouble) : at::zeros({rows, width}, at::kDouble);
        add_embedding_gradient(expected, true, dy.to(at::kDouble), ids);
        const at::Tensor got = sum.cuda(), again = sum.cuda();
        add_embedding_gradient(got, begun, dy.cuda(), ids.cuda());
        add_embedding_gradient(again, begun, dy.cuda(), ids.cuda());
        EXPECT_TENSOR_NEAR(got.cpu().to(at::kDouble), expected, 1e-5);
        EXPECT_TENSOR_EQUAL(got.cpu(), again.cpu());
      }
    }
  }
}

TEST_F(FusedKernelsGpu, AdamWAndSumOfSquares) {
  std::vector<AdamwTensors> gpu;
  std::vector<Tensors> cpu;  // main, gradient, exp_avg, exp_avg_sq in fp64
  Tensors gradients;
  double squares = 0.0;
  for (int i = 0; i < 120; ++i) {  // more than a launch takes
    const std::int64_t elements = i == 7 ? 100003 : 1 + 37 * i;
    const Tensors t = {at::randn({elements}), at::randn({elements}) * 3, at::randn({elements}), at::rand({elements})};
    cpu.push_back({t[0].to(at::kDouble), t[1].to(at::kDouble), t[2].to(at::kDouble), t[3].to(at::kDouble)});
    squares += cpu.back()[1].square().sum().item<double>();
    const auto on_gpu = at::TensorOptions(at::kCUDA);
    gpu.push_back({t[0].cuda(), t[1].cuda(), t[2].cuda(), t[3].cuda(), {}, i % 3 != 0});
    if (i % 2 == 1) {  // in halves
      gpu.back().main = at::empty({elements}, on_gpu.dtype(at::kBFloat16));
      gpu.back().lower = at::empty({elements}, on_gpu.dtype(at::kShort));
      split_into_halves(t[0].cuda(), gpu.back().main, gpu.back().lower);
    }
    gradients.push_back(gpu.back().gradient);
  }
  const auto sum = sum_of_squares_fused(gradients);
  ASSERT_TRUE(sum.has_value());
  EXPECT_NEAR(sum->item<double>(), squares, 1e-6 * squares);
  const AdamwNumbers n{0.9, 0.95, 1e-8, 1e-2, 0.3, 1e-3};
  const at::Tensor scale = at::full({}, 0.25, at::TensorOptions(at::kCUDA).dtype(at::kDouble));
  const at::Tensor one = at::ones({}, at::kFloat).cuda();
  const at::Tensor before = gpu[7].main.clone();
  ASSERT_TRUE(adamw_fused(gpu, n, scale, one));
  EXPECT_TENSOR_EQUAL(gpu[7].main, before);  // skipped
  ASSERT_TRUE(adamw_fused(gpu, n, scale, one - 1));
  for (std::size_t i = 0; i < gpu.size(); ++i) {
    const at::Tensor g = cpu[i][1] * 0.25, m = 0.9 * cpu[i][2] + 0.1 * g, v = 0.95 * cpu[i][3] + 0.05 * g * g;
    const double decay = gpu[i].decays ? 1e-3 : 0.0;
    const at::Tensor main = cpu[i][0] - 1e-2 * (m / (v.sqrt() / 0.3 + 1e-8)) - decay * cpu[i][0];
    const bool in_halves = gpu[i].lower.defined();
    const at::Tensor found = in_halves ? join_halves(gpu[i].main, gpu[i].lower) : gpu[i].main;
    EXPECT_TENSOR_NEAR(found.cpu().to(at::kDouble), main, 1e-6);
    EXPECT_TENSOR_NEAR(gpu[i].exp_avg.cpu().to(at::kDouble), m, 1e-6);
    EXPECT_TENSOR_NEAR(gpu[i].exp_avg_sq.cpu().to(at::kDouble), v, 1e-6);
  }
}

}  // namespace
}  // namespace ringtron

// Bands of every kind through FlashAttention on the GPU, against composed attention in fp64 on the CPU.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include "ringtron/context_parallel/block/block_attention.h"

namespace ringtron {
namespace {

// Norm of the error over norm of the truth, as for cuDNN's blocks in bf16.
constexpr double kTolerance = 4e-3;
constexpr std::int64_t kUnbounded = Band::kUnbounded;

struct Case {
  const char* name;
  std::int64_t s_q, s_kv, n, g, d;
  Band band;
};

// The tiles that windows over ranges of a sequence give: squares, halos, and what lies between.
constexpr Case kCases[] = {
    {"all", 96, 160, 4, 2, 64, {}},
    {"causal square", 130, 130, 4, 4, 128, {kUnbounded, 0}},
    {"window square", 300, 300, 4, 2, 128, {40, 0}},
    {"window both sides", 200, 200, 2, 2, 64, {30, 17}},
    {"halo", 100, 100, 4, 1, 128, {0, kUnbounded}},
    {"halo wider than the queries", 60, 100, 4, 4, 64, {0, kUnbounded}},
    {"bottom right", 80, 200, 2, 1, 64, {kUnbounded, 120}},
    {"one query", 1, 64, 2, 2, 64, {}},
};

at::Tensor random_bf16(at::IntArrayRef shape) {
  return at::randn(shape, at::kDouble).to(at::kBFloat16).to(at::kDouble);
}

at::Tensor on_gpu(const at::Tensor& x) { return x.to(at::kCUDA, at::kBFloat16); }

double relative_error(const at::Tensor& got, const at::Tensor& expected) {
  return (got.to(at::kCPU, at::kDouble) - expected).norm().item<double>() / expected.norm().item<double>();
}

struct Errors {
  double out, lse, dq, dk, dv;
};

Errors errors_of(const Case& c, const Band& band_of_truth) {
  at::manual_seed(5);
  const at::Tensor q = random_bf16({c.s_q, 2, c.n, c.d}), k = random_bf16({c.s_kv, 2, c.g, c.d}),
                   v = random_bf16({c.s_kv, 2, c.g, c.d}), d_out = random_bf16({c.s_q, 2, c.n, c.d});
  const auto truth = make_composed_block_attention();
  const BlockCall expected_call{.scale = 0.1, .band = band_of_truth}, call{.scale = 0.1, .band = c.band};
  const BlockResult expected = truth->forward(q, k, v, expected_call);
  const BlockGradient gradient = truth->backward(q, k, v, {d_out, expected.out, expected.lse, {}}, expected_call);

  const auto flash = make_flash_cuda_block_attention();
  const BlockResult got = flash->forward(on_gpu(q), on_gpu(k), on_gpu(v), call);
  const OutputGradient output{on_gpu(d_out), got.out, got.lse, {}};
  const BlockGradient back = flash->backward(on_gpu(q), on_gpu(k), on_gpu(v), output, call);
  return {relative_error(got.out, expected.out), relative_error(got.lse, expected.lse),
          relative_error(back.dq, gradient.dq), relative_error(back.dk, gradient.dk),
          relative_error(back.dv, gradient.dv)};
}

class FlashBlockGpu : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (c10::cuda::device_count() == 0) GTEST_SKIP() << "no GPU";
  }
};

TEST_P(FlashBlockGpu, EqualsComposed) {
  const Errors e = errors_of(GetParam(), GetParam().band);
  EXPECT_LE(e.out, kTolerance);
  EXPECT_LE(e.lse, kTolerance);
  EXPECT_LE(e.dq, kTolerance);
  EXPECT_LE(e.dk, kTolerance);
  EXPECT_LE(e.dv, kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Bands, FlashBlockGpu, ::testing::ValuesIn(kCases));

TEST(FlashBlockGpuControl, ABandThatIsOffByOneIsSeen) {
  if (c10::cuda::device_count() == 0) GTEST_SKIP() << "no GPU";
  const Errors e = errors_of(kCases[2], {41, 0});
  EXPECT_GT(e.out, 5 * kTolerance);
  EXPECT_GT(e.dk, 5 * kTolerance);
}

}  // namespace
}  // namespace ringtron

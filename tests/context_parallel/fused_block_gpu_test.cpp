// Our own fused attention kernels on the GPU, with bands and dropout of every kind, against composed attention in fp64
// on the CPU.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "ringtron/context_parallel/block/block_attention.h"
#include "ringtron/kernels/fused_attention/fused_attention.h"

namespace ringtron {
namespace {

// Norm of the error over norm of the truth. Results are fp32, so what is left is probabilities rounded to bf16.
constexpr double kTolerance = 3e-3;
constexpr std::int64_t kUnbounded = Band::kUnbounded;
using Ranges = std::vector<PositionRange>;

struct Case {
  const char* name;
  std::int64_t s_q, s_kv, n, g, d, d_v;
  Band band;
  Ranges q_positions, kv_positions;  // empty: no dropout
};

// Sizes around the kernels' tiles of 64 and 128 rows; positions whose random blocks of eight keys lie in eight rows,
// and others.
const Case kCases[] = {
    {"all", 96, 160, 4, 2, 64, 64, {}, {}, {}},
    {"causal square", 300, 300, 4, 4, 128, 128, {kUnbounded, 0}, {}, {}},
    {"window square", 500, 500, 4, 2, 128, 128, {40, 0}, {}, {}},
    {"window both sides", 200, 200, 2, 2, 64, 64, {30, 17}, {}, {}},
    {"halo", 129, 129, 4, 1, 128, 128, {0, kUnbounded}, {}, {}},
    {"rows without keys", 200, 90, 2, 1, 64, 64, {20, 3}, {}, {}},
    {"keys without rows", 60, 300, 2, 1, 64, 64, {-40, 70}, {}, {}},
    {"values of another size", 130, 70, 6, 3, 72, 40, {kUnbounded, 0}, {}, {}},
    {"one query", 1, 64, 2, 2, 64, 64, {}, {}, {}},
    {"dropout, all", 200, 136, 4, 2, 128, 128, {}, {{0, 200}}, {{400, 536}}},
    {"dropout, causal", 320, 320, 4, 2, 128, 128, {kUnbounded, 0}, {{64, 224}, {800, 960}}, {{64, 224}, {800, 960}}},
    {"dropout, window", 400, 400, 4, 4, 64, 64, {50, 20}, {{8, 408}}, {{8, 408}}},
    {"dropout, uneven chunks",
     131,
     207,
     4,
     1,
     128,
     128,
     {kUnbounded, 70},
     {{3, 60}, {61, 135}},
     {{1, 100}, {101, 209}}},
    {"dropout, uneven rows of even keys", 77, 130, 2, 2, 40, 48, {}, {{5, 82}}, {{1000000, 1000130}}},
};

at::Tensor random_16(at::IntArrayRef shape, at::ScalarType type) {
  return at::randn(shape, at::kDouble).to(type).to(at::kDouble);
}

double relative_error(const at::Tensor& got, const at::Tensor& expected) {
  return (got.to(at::kCPU, at::kDouble) - expected).norm().item<double>() / expected.norm().item<double>();
}

struct Results {
  at::Tensor out, lse, dq, dk, dv;
};

struct Block {
  at::Tensor q, k, v, d_out;
};

Block made(const Case& c, at::ScalarType type) {
  at::manual_seed(5);
  return {random_16({c.s_q, 2, c.n, c.d}, type), random_16({c.s_kv, 2, c.g, c.d}, type),
          random_16({c.s_kv, 2, c.g, c.d_v}, type), random_16({c.s_q, 2, c.n, c.d_v}, type)};
}

BlockCall call_of(const Case& c, const AttentionDropout& dropout) {
  return {.scale = 0.1,
          .band = c.band,
          .dropout = c.q_positions.empty() ? nullptr : &dropout,
          .q_positions = c.q_positions,
          .kv_positions = c.kv_positions};
}

Results truth_of(const Block& b, const BlockCall& call) {
  const auto truth = make_composed_block_attention();
  const BlockResult forward = truth->forward(b.q, b.k, b.v, call);
  BlockGradient back = truth->backward(b.q, b.k, b.v, {b.d_out, forward.out, forward.lse, {}}, call);
  return {forward.out, forward.lse, back.dq, back.dk, back.dv};
}

Results run(const Block& b, at::ScalarType type, const BlockCall& call) {
  const auto on_gpu = [&](const at::Tensor& x) { return x.to(at::kCUDA, type); };
  const Block here{on_gpu(b.q), on_gpu(b.k), on_gpu(b.v), on_gpu(b.d_out)};
  EXPECT_TRUE(fused_attention_supports(here.q, here.k, here.v));
  const auto fused = make_fused_cuda_block_attention();
  const BlockResult forward = fused->forward(here.q, here.k, here.v, call);
  EXPECT_EQ(forward.out.scalar_type(), at::kFloat);
  BlockGradient back = fused->backward(here.q, here.k, here.v, {here.d_out, forward.out, forward.lse, {}}, call);
  return {forward.out, forward.lse, back.dq, back.dk, back.dv};
}

void expect_near(const Results& got, const Results& expected) {
  const at::Tensor lse = got.lse.to(at::kCPU, at::kDouble);
  const at::Tensor seen = expected.lse.isfinite();
  EXPECT_TRUE(lse.isneginf().equal(seen.logical_not())) << "rows without keys";
  EXPECT_LE(relative_error(lse.masked_select(seen), expected.lse.masked_select(seen)), 1e-5);
  EXPECT_LE(relative_error(got.out, expected.out), kTolerance);
  EXPECT_LE(relative_error(got.dq, expected.dq), kTolerance);
  EXPECT_LE(relative_error(got.dk, expected.dk), kTolerance);
  EXPECT_LE(relative_error(got.dv, expected.dv), kTolerance);
}

class FusedBlockGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (c10::cuda::device_count() == 0) GTEST_SKIP() << "no GPU";
  }
  const AttentionDropout dropout_{
      .p = 0.3, .key = 0x123456789abcdefull, .sample_numbers = {7, 1L << 40}, .head_offset = 5};
};

class FusedBlocksGpu : public FusedBlockGpu, public ::testing::WithParamInterface<Case> {};

TEST_P(FusedBlocksGpu, EqualsComposed) {
  const Case& c = GetParam();
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
    const Block block = made(c, type);
    const BlockCall call = call_of(c, dropout_);
    expect_near(run(block, type, call), truth_of(block, call));
  }
}

TEST_P(FusedBlocksGpu, HasTheSameBitsEachTime) {
  const Block block = made(GetParam(), at::kBFloat16);
  const BlockCall call = call_of(GetParam(), dropout_);
  const Results first = run(block, at::kBFloat16, call), again = run(block, at::kBFloat16, call);
  EXPECT_TRUE(first.out.equal(again.out) && first.lse.equal(again.lse));
  EXPECT_TRUE(first.dq.equal(again.dq) && first.dk.equal(again.dk) && first.dv.equal(again.dv));
}

std::string name_of(const ::testing::TestParamInfo<Case>& info) {
  std::string name = info.param.name;
  std::erase(name, ',');
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Blocks, FusedBlocksGpu, ::testing::ValuesIn(kCases), name_of);

class FusedBlockGpuControl : public FusedBlocksGpu {};

// Negative controls: a band that is off by one, and another head's mask, must be seen in every result.
TEST_P(FusedBlockGpuControl, WhatIsOffByOneIsSeen) {
  const Case& c = GetParam();
  const Block block = made(c, at::kBFloat16);
  Case other_case = c;
  AttentionDropout other = dropout_;
  c.q_positions.empty() ? void(other_case.band.left += 1) : void(other.head_offset += 1);
  const Results got = run(block, at::kBFloat16, call_of(other_case, other)),
                expected = truth_of(block, call_of(c, dropout_));
  EXPECT_GT(relative_error(got.out, expected.out), 5 * kTolerance);
  EXPECT_GT(relative_error(got.dq, expected.dq), 5 * kTolerance);
  EXPECT_GT(relative_error(got.dk, expected.dk), 5 * kTolerance);
  EXPECT_GT(relative_error(got.dv, expected.dv), 5 * kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Blocks, FusedBlockGpuControl, ::testing::Values(kCases[2], kCases[10], kCases[12]), name_of);

// As a rank gets them: heads of a larger tensor, rows of a longer one.
TEST_F(FusedBlockGpu, ReadsViews) {
  const Case& c = kCases[10];
  const Block whole = made({"", 2 * c.s_q, 2 * c.s_kv, 2 * c.n, 2 * c.g, c.d, c.d_v, {}, {}, {}}, at::kBFloat16);
  const auto part = [](const at::Tensor& x, std::int64_t rows, std::int64_t heads) {
    return x.narrow(0, rows, rows).narrow(2, heads, heads);
  };
  const Block views{part(whole.q, c.s_q, c.n), part(whole.k, c.s_kv, c.g), part(whole.v, c.s_kv, c.g),
                    part(whole.d_out, c.s_q, c.n)};
  const BlockCall call = call_of(c, dropout_);
  const auto on_gpu = [](const at::Tensor& x) { return x.to(at::kCUDA, at::kBFloat16); };
  const at::Tensor q = on_gpu(whole.q), k = on_gpu(whole.k), v = on_gpu(whole.v), d_out = on_gpu(whole.d_out);
  const Block here{part(q, c.s_q, c.n), part(k, c.s_kv, c.g), part(v, c.s_kv, c.g), part(d_out, c.s_q, c.n)};
  ASSERT_FALSE(here.q.is_contiguous());
  const auto fused = make_fused_cuda_block_attention();
  const BlockResult forward = fused->forward(here.q, here.k, here.v, call);
  const BlockGradient back = fused->backward(here.q, here.k, here.v, {here.d_out, forward.out, forward.lse, {}}, call);
  expect_near({forward.out, forward.lse, back.dq, back.dk, back.dv}, truth_of(views, call));
}

// Keys in two blocks, as a ring has them: lse and delta of all keys, delta a view of another order, some rows without
// keys in one.
TEST_F(FusedBlockGpu, SharesOfTwoBlocksAddUp) {
  constexpr std::int64_t kRows = 320, kFirst = 200;
  const Case c{"", kRows, kRows, 4, 2, 128, 128, Band::causal(), {{0, kRows}}, {{0, kRows}}};
  const Block block = made(c, at::kBFloat16);
  const BlockCall whole = call_of(c, dropout_);
  const Results expected = truth_of(block, whole);
  const auto on_gpu = [](const at::Tensor& x) { return x.to(at::kCUDA, at::kBFloat16); };
  const at::Tensor q = on_gpu(block.q), k = on_gpu(block.k), v = on_gpu(block.v), d_out = on_gpu(block.d_out);
  const at::Tensor delta = (expected.out * block.d_out).sum(-1).to(at::kCUDA, at::kFloat).permute({1, 2, 0});
  ASSERT_FALSE(delta.is_contiguous());
  const OutputGradient output{d_out, on_gpu(expected.out), expected.lse.to(at::kCUDA, at::kFloat), delta};
  const auto fused = make_fused_cuda_block_attention();
  at::Tensor dq = at::zeros_like(q, at::kFloat);
  std::vector<at::Tensor> dk, dv;
  for (const PositionRange keys : {PositionRange{0, kFirst}, PositionRange{kFirst, kRows}}) {
    const Ranges positions{keys};
    BlockCall call = whole;
    call.band = {kUnbounded, -keys.begin};  // row i sees keys up to position i
    call.kv_positions = positions;
    const BlockGradient share = fused->backward(q, k.narrow(0, keys.begin, keys.length()),
                                                v.narrow(0, keys.begin, keys.length()), output, call);
    dq += share.dq;
    dk.push_back(share.dk);
    dv.push_back(share.dv);
  }
  EXPECT_LE(relative_error(dq, expected.dq), kTolerance);
  EXPECT_LE(relative_error(at::cat(dk), expected.dk), kTolerance);
  EXPECT_LE(relative_error(at::cat(dv), expected.dv), kTolerance);
}

// Thresholds above those that halves of words are compared with as numbers of type f16.
TEST_F(FusedBlockGpu, DropsNearlyAll) {
  const Case& c = kCases[10];
  const Block block = made(c, at::kBFloat16);
  AttentionDropout dropout = dropout_;
  dropout.p = 0.98;
  const BlockCall call = call_of(c, dropout);
  expect_near(run(block, at::kBFloat16, call), truth_of(block, call));
}

// What is no number must show, not vanish under a mask.
TEST_F(FusedBlockGpu, NaNShows) {
  const Case& c = kCases[10];
  Block block = made(c, at::kBFloat16);
  block.v[5].fill_(NAN);
  const Results got = run(block, at::kBFloat16, call_of(c, dropout_));
  EXPECT_TRUE(got.out.isnan().any().item<bool>());
  EXPECT_TRUE(got.dq.isnan().any().item<bool>());
}

// --deterministic-mode comes here for windows.
TEST_F(FusedBlockGpu, DeterministicWindowsHaveTheSameBits) {
  const Case& c = kCases[2];
  const Block block = made(c, at::kBFloat16);
  const BlockCall call = call_of(c, dropout_);
  const auto on_gpu = [](const at::Tensor& x) { return x.to(at::kCUDA, at::kBFloat16); };
  const auto attention = make_cudnn_block_attention(true);
  std::vector<BlockGradient> gradients;
  for (int time = 0; time < 2; ++time) {
    const BlockResult forward = attention->forward(on_gpu(block.q), on_gpu(block.k), on_gpu(block.v), call);
    EXPECT_EQ(forward.out.scalar_type(), at::kFloat) << "another kernel's";
    gradients.push_back(attention->backward(on_gpu(block.q), on_gpu(block.k), on_gpu(block.v),
                                            {on_gpu(block.d_out), forward.out, forward.lse, {}}, call));
  }
  EXPECT_TRUE(gradients[0].dq.equal(gradients[1].dq) && gradients[0].dk.equal(gradients[1].dk) &&
              gradients[0].dv.equal(gradients[1].dv));
  EXPECT_LE(relative_error(gradients[0].dq, truth_of(block, call).dq), kTolerance);
}

}  // namespace
}  // namespace ringtron

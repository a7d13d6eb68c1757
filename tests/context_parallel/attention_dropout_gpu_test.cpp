// Attention dropout on the GPU against its CPU truth, bit for bit, and the block attention that the GPU gets.
#include "ringtron/context_parallel/block/attention_dropout.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include "ringtron/context_parallel/block/block_attention.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using Ranges = std::vector<PositionRange>;

// Two chunks as zigzag gives, ends that are no multiple of four, a gap of one, a row alone, and nothing.
const Ranges kRanges[] = {
    {{0, 16}, {48, 64}}, {{3, 10}, {11, 12}, {29, 42}}, {{1000000, 1000001}}, {{5, 5}}, {},
};

class AttentionDropoutGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (c10::cuda::device_count() == 0) GTEST_SKIP() << "no GPU";
  }
  const AttentionDropout dropout_{
      .p = 0.3, .key = 0x123456789abcdefull, .sample_numbers = {7, 1L << 40}, .head_offset = 5};
};

TEST_F(AttentionDropoutGpu, HasTheBitsOfTheCpu) {
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    const at::TensorOptions on_cpu(type), on_gpu = on_cpu.device(at::kCUDA);
    for (const Ranges& queries : kRanges) {
      for (const Ranges& keys : kRanges) {
        const at::Tensor expected = attention_dropout_factors(dropout_, 3, queries, keys, on_cpu);
        EXPECT_TENSOR_EQUAL(attention_dropout_factors(dropout_, 3, queries, keys, on_gpu), expected);
      }
    }
  }
}

// Negative control: a shift of one head must be seen.
TEST_F(AttentionDropoutGpu, HeadOffsetIsSeen) {
  AttentionDropout other = dropout_;
  other.head_offset += 1;
  const at::TensorOptions on_cpu(at::kFloat), on_gpu = on_cpu.device(at::kCUDA);
  const at::Tensor expected = attention_dropout_factors(dropout_, 2, kRanges[0], kRanges[0], on_cpu);
  EXPECT_FALSE(testing::tensor_equal(attention_dropout_factors(other, 2, kRanges[0], kRanges[0], on_gpu), expected));
}

struct Block {
  at::Tensor out, lse, dq, dk, dv;
};

Block run(const BlockAttention& attention, const std::vector<at::Tensor>& in, const BlockCall& call) {
  const BlockResult result = attention.forward(in[0], in[1], in[2], call);
  const at::ScalarType wide = accumulate_type(in[0].scalar_type());
  const at::Tensor delta = (in[3].to(wide) * result.out.to(wide)).sum(-1).permute({1, 2, 0}).contiguous();
  const BlockGradient gradient = attention.backward(in[0], in[1], in[2], {in[3], result.out, result.lse, delta}, call);
  return {result.out, result.lse, gradient.dq, gradient.dk, gradient.dv};
}

// The GPU's choice for a type against the composed fp64 truth on the CPU; the errors of an fp64 sum in another order,
// an fp32 one, and bf16 storage.
void expect_truth(at::ScalarType type, const AttentionDropout* dropout, double tolerance) {
  const Ranges rows{{0, 32}, {96, 128}};
  const BlockCall call{
      .scale = 0.125, .band = Band::causal(), .dropout = dropout, .q_positions = rows, .kv_positions = rows};
  std::vector<at::Tensor> truth_in, in;
  for (const std::int64_t heads : {4, 2, 2, 4}) {
    truth_in.push_back(at::randn({64, 2, heads, 64}, at::TensorOptions(at::kDouble)).to(type).to(at::kDouble));
    in.push_back(truth_in.back().to(at::kCUDA, type));
  }
  const Block truth = run(*make_composed_block_attention(), truth_in, call);
  const Block got = run(*make_block_attention(at::kCUDA, type, dropout != nullptr, true), in, call);
  EXPECT_TENSOR_NEAR(got.out, truth.out, tolerance);
  EXPECT_TENSOR_NEAR(got.lse, truth.lse, tolerance);
  EXPECT_TENSOR_NEAR(got.dq, truth.dq, tolerance);
  EXPECT_TENSOR_NEAR(got.dk, truth.dk, tolerance);
  EXPECT_TENSOR_NEAR(got.dv, truth.dv, tolerance);
}

TEST_F(AttentionDropoutGpu, BlocksMatchTheTruth) {
  expect_truth(at::kDouble, nullptr, 1e-12);
  expect_truth(at::kFloat, nullptr, 1e-5);
  expect_truth(at::kBFloat16, nullptr, 1e-2);
}

TEST_F(AttentionDropoutGpu, BlocksWithDropoutMatchTheTruth) {
  expect_truth(at::kDouble, &dropout_, 1e-12);
  expect_truth(at::kFloat, &dropout_, 1e-5);
  expect_truth(at::kBFloat16, &dropout_, 1e-2);
}

}  // namespace
}  // namespace ringtron

// In bf16 the gradients of attention, sums over all rows that see a key and over the heads that share it, or over all
// keys that a row sees, are as good as a few roundings of their terms: against fp64, with 16,384 rows.
#include <gtest/gtest.h>

#include "ringtron/comm/local_communicator.h"
#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/context_parallel/plan/balanced_layout.h"
#include "tests/context_parallel/block_case.h"

namespace ringtron {
namespace {

using testing::BlockCase;
using testing::BlockOutput;
using testing::BlockSizes;
using testing::make_block;
using testing::run_block;

// Gradients of the same sign, so that a sum that does not grow any more shows.
BlockCase shifted(const BlockSizes& sizes, const Band& band) {
  BlockCase c = make_block(sizes, band);
  c.v = (c.v + 1).to(at::kBFloat16).to(at::kDouble);
  c.d_out = (c.d_out + 1).to(at::kBFloat16).to(at::kDouble);
  return c;
}

// Terms are products of rounded weights and the rounded output, and their errors average out in long sums. `short_dq`:
// a row sees too few keys for that.
void expect_sums(const BlockAttention& block, const BlockCase& c, bool short_dq) {
  constexpr double kTerms = 4e-3;
  const BlockOutput got = run_block(block, c, at::kBFloat16), expected = run_block(*make_composed_block_attention(), c);
  EXPECT_TENSOR_NEAR(got.dq, expected.dq, short_dq ? 3 * kTerms : kTerms);
  EXPECT_TENSOR_NEAR(got.dk, expected.dk, kTerms);
  EXPECT_TENSOR_NEAR(got.dv, expected.dv, kTerms);
}

TEST(RowSums, OfKeysThatManyRowsSee) {
  const BlockCase c = shifted({.s_q = 16384, .s_kv = 32, .b = 1, .n = 4, .g = 1, .d = 16, .d_v = 16}, Band::all());
  expect_sums(*make_flash_cpu_block_attention(), c, true);
  expect_sums(*make_composed_block_attention(), c, true);
}

TEST(RowSums, OfARowThatSeesManyKeys) {
  // Values without a mean: the output, which is kept in bf16, is small then, and so is what its rounding adds to each
  // term alike.
  const BlockCase c = make_block({.s_q = 32, .s_kv = 16384, .b = 1, .n = 2, .g = 2, .d = 16, .d_v = 16}, Band::all());
  expect_sums(*make_flash_cpu_block_attention(), c, false);
  expect_sums(*make_composed_block_attention(), c, false);
}

// Cut into pieces: the square and what lies beside it.
TEST(RowSums, OfCausalAttention) {
  expect_sums(*make_flash_cpu_block_attention(),
              shifted({.s_q = 2048, .s_kv = 1024, .b = 1, .n = 4, .g = 2, .d = 16, .d_v = 16}, Band::causal()), true);
}

// A sink's gradient is a sum over all rows of all samples.
TEST(RowSums, OfLearnedSinks) {
  constexpr std::int64_t kLength = 512, kSamples = 32, kHeads = 2, kSize = 8;
  LocalCommunicator alone("context", 0);
  const auto gradient = [&](at::ScalarType type) {
    const auto attention = make_cp_attention(
        alone, make_layout(CpLayout::contiguous, std::vector{AttentionMask(kLength, true, {})}, 1, 1));
    const auto leaf = [&](std::uint64_t key, at::IntArrayRef sizes) {
      return (testing::random_tensor(sizes, key) + 0.5).to(at::kBFloat16).to(type).requires_grad_();
    };
    const auto heads = [&](std::uint64_t key) { return leaf(key, {kLength, kSamples, kHeads, kSize}); };
    AttentionCall call;
    call.scale = 0.3;
    call.softmax = SoftmaxKind::learnable;
    call.sink = leaf(4, {kHeads});
    const at::Tensor out = attention->forward(heads(1), heads(2), heads(3), call);
    out.backward(heads(5).detach());
    return call.sink.grad().to(at::kDouble);
  };
  EXPECT_TENSOR_NEAR(gradient(at::kBFloat16), gradient(at::kDouble), 1.02 / 256 + 2e-3);
}

}  // namespace
}  // namespace ringtron

// One block: the composed implementation against the reference and finite differences, the fused one against
// it.
#include "ringtron/context_parallel/block_attention.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/context_parallel/attention_case.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using testing::AttentionCase;
using testing::CaseSizes;
using testing::Results;

Results run_block(const BlockAttention& block, const AttentionCase& c, at::ScalarType type) {
  const PositionRange all[] = {{0, c.q.size(0)}};
  const BlockCall call{c.call.scale, c.call.causal, c.call.dropout ? &*c.call.dropout : nullptr, all, all};
  const at::Tensor q = c.q.to(type), k = c.k.to(type), v = c.v.to(type), d_out = c.d_out.to(type);
  const BlockResult result = block.forward(q, k, v, call);
  const at::ScalarType sum = accumulate_type(type);
  const at::Tensor out = result.out.to(type).contiguous();
  const OutputGradient output{d_out, out, result.lse,
                              (d_out.to(sum) * out.to(sum)).sum(-1).permute({1, 2, 0}).contiguous()};
  const BlockGradient g = block.backward(q, k, v, output, call);
  return {out.to(at::kDouble), g.dq.to(at::kDouble), g.dk.to(at::kDouble), g.dv.to(at::kDouble)};
}

void expect_near(const Results& got, const Results& expected, double tolerance) {
  for (int i = 0; i < 4; ++i) EXPECT_TENSOR_NEAR(got[i], expected[i], tolerance) << testing::kResultNames[i];
}

TEST(ComposedBlock, MatchesReference) {
  for (const CaseSizes& sizes : testing::parity_cases()) {
    const AttentionCase c = testing::make_case(sizes);
    expect_near(run_block(*make_composed_block_attention(), c, at::kDouble), testing::reference_results(c),
                1e-13);
  }
}

TEST(ComposedBlock, TilesDoNotChangeTheResult) {
  for (const CaseSizes& sizes : testing::parity_cases()) {
    const AttentionCase c = testing::make_case(sizes);
    const Results whole = run_block(*make_composed_block_attention(), c, at::kDouble);
    for (const std::int64_t rows : {1, 7}) {
      const std::int64_t bytes = rows * sizes.batch * sizes.heads * sizes.sequence * 8;
      expect_near(run_block(*make_composed_block_attention(bytes), c, at::kDouble), whole, 1e-13);
    }
  }
}

// Central differences of sum(out * d_out), for some elements of each input; with dropout, whose mask stays
// the same.
TEST(ComposedBlock, GradientsAreTheSlopes) {
  AttentionCase c = testing::make_case(
      {.sequence = 6, .batch = 1, .heads = 2, .groups = 1, .head_size = 3, .dropout = 0.25});
  const auto block = make_composed_block_attention();
  const Results got = run_block(*block, c, at::kDouble);
  const auto value = [&] { return (run_block(*block, c, at::kDouble)[0] * c.d_out).sum().item<double>(); };
  const double step = 1e-5;
  at::Tensor inputs[] = {c.q, c.k, c.v};
  for (int input = 0; input < 3; ++input) {
    const at::Tensor flat = inputs[input].view({-1}), gradient = got[input + 1].reshape({-1});
    for (std::int64_t i = 0; i < flat.numel(); i += 2) {
      const at::Tensor element = flat[i];
      const double before = element.item<double>();
      element.fill_(before + step);
      const double above = value();
      element.fill_(before - step);
      const double below = value();
      element.fill_(before);
      EXPECT_NEAR(gradient[i].item<double>(), (above - below) / (2 * step), 1e-8);
    }
  }
}

TEST(ComposedBlock, NoKeysAndNoQueries) {
  const auto block = make_composed_block_attention();
  const at::Tensor q = at::ones({3, 1, 2, 4}), none = at::ones({0, 1, 2, 4});
  const BlockResult nothing_seen = block->forward(q, none, none, {});
  EXPECT_TENSOR_EQUAL(nothing_seen.out, at::zeros_like(q));
  EXPECT_TRUE(nothing_seen.lse.isneginf().all().item<bool>());
  EXPECT_EQ(block->forward(none, q, q, {}).out.numel(), 0);
}

TEST(ComposedBlock, RefusesHeadsThatDoNotDivide) {
  const at::Tensor q = at::ones({3, 1, 4, 4}), k = at::ones({3, 1, 3, 4});
  EXPECT_ANY_THROW(make_composed_block_attention()->forward(q, k, k, {}));
}

TEST(FlashCpuBlock, MatchesComposed) {
  // Of the largest element: fp64 and fp32 differ in the order of sums; bf16 rounds probabilities and results
  // to 8 bits.
  const std::pair<at::ScalarType, double> kTolerances[] = {
      {at::kDouble, 1e-13}, {at::kFloat, 5e-6}, {at::kBFloat16, 0.02}};
  for (const CaseSizes& sizes : testing::parity_cases()) {
    if (sizes.dropout > 0.0) continue;
    const AttentionCase c = testing::make_case(sizes);
    for (const auto& [type, tolerance] : kTolerances) {
      expect_near(run_block(*make_flash_cpu_block_attention(), c, type),
                  run_block(*make_composed_block_attention(), c, type), tolerance);
    }
  }
}

TEST(FlashCpuBlock, LongerThanItsOwnTiles) {
  for (const bool causal : {true, false}) {
    const AttentionCase c =
        testing::make_case({.sequence = 700, .batch = 1, .head_size = 16, .causal = causal});
    expect_near(run_block(*make_flash_cpu_block_attention(), c, at::kDouble),
                run_block(*make_composed_block_attention(), c, at::kDouble), 1e-12);
  }
}

TEST(MakeBlockAttention, DropoutGoesToTheComposedOne) {
  const AttentionCase c = testing::make_case({.dropout = 0.5});
  const auto block = make_block_attention(c10::DeviceType::CPU, at::kFloat, true);
  EXPECT_NO_THROW(run_block(*block, c, at::kFloat));
}

}  // namespace
}  // namespace ringtron

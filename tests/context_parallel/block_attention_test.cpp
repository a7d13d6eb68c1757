// One block: every implementation that runs on a CPU against plain loops in fp64, and finite differences.
#include "ringtron/context_parallel/block/block_attention.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "ringtron/context_parallel/block/row_accumulator.h"
#include "tests/context_parallel/block_case.h"

namespace ringtron {
namespace {

using testing::BlockCase;
using testing::BlockOutput;
using testing::BlockSizes;
using testing::delta_of;
using testing::describe;
using testing::for_all_blocks;
using testing::make_block;
using testing::naive_block;
using testing::near;
using testing::run_block;

constexpr std::int64_t kUnbounded = Band::kUnbounded;

AttentionDropout some_dropout(std::int64_t b) {
  AttentionDropout dropout{.p = 0.3, .key = 99, .sample_numbers = {}, .head_offset = 3};
  for (std::int64_t sample = 0; sample < b; ++sample) dropout.sample_numbers.push_back(50 + 3 * sample);
  return dropout;
}

TEST(ComposedBlock, MatchesLoops) {
  const auto whole = make_composed_block_attention(), row_by_row = make_composed_block_attention(1);
  for_all_blocks([&](const BlockSizes& sizes, const Band& band) {
    const AttentionDropout dropout = some_dropout(sizes.b);
    for (const AttentionDropout* used : {static_cast<const AttentionDropout*>(nullptr), &dropout}) {
      const BlockCase c = make_block(sizes, band, used);
      const BlockOutput expected = naive_block(c);
      EXPECT_TRUE(near(run_block(*whole, c), expected, 1e-13)) << describe(sizes, band);
      EXPECT_TRUE(near(run_block(*row_by_row, c), expected, 1e-13)) << describe(sizes, band);
    }
  });
}

// Many tiles of more than one row, whose key ranges differ.
TEST(ComposedBlock, LongerThanItsTiles) {
  const BlockSizes sizes{.s_q = 300, .s_kv = 270, .b = 1, .n = 2, .g = 1, .d = 2, .d_v = 3};
  const Band bands[] = {Band::all(), Band::causal(),     {20, 0},          {-30, 150},
                        {3, -1},     {kUnbounded, -200}, {200, kUnbounded}};
  for (const Band& band : bands) {
    const BlockCase c = make_block(sizes, band);
    const BlockOutput expected = naive_block(c);
    for (const std::int64_t bytes : {64 << 20, 40'000}) {
      EXPECT_TRUE(near(run_block(*make_composed_block_attention(bytes), c), expected, 1e-12)) << describe(sizes, band);
    }
  }
}

// All that a CPU run uses. fp32: 24 bits in sums; bf16: inputs are the same, but the fused kernel rounds probabilities
// and results to 8 bits, and the output goes through them before the backward.
TEST(CpuBlock, MatchesLoopsInAllTypes) {
  const std::pair<at::ScalarType, double> kTolerances[] = {
      {at::kDouble, 1e-13}, {at::kFloat, 1e-5}, {at::kBFloat16, 0.03}};
  for_all_blocks([&](const BlockSizes& sizes, const Band& band) {
    const AttentionDropout dropout = some_dropout(sizes.b);
    for (const AttentionDropout* used : {static_cast<const AttentionDropout*>(nullptr), &dropout}) {
      const BlockCase c = make_block(sizes, band, used);
      const BlockOutput expected = naive_block(c);
      for (const auto& [type, tolerance] : kTolerances) {
        const auto block = make_block_attention(c10::DeviceType::CPU, type, used != nullptr);
        EXPECT_TRUE(near(run_block(*block, c, type), expected, tolerance))
            << describe(sizes, band) << " " << c10::toString(type) << (used ? " dropout" : "");
      }
    }
  });
}

TEST(FlashCpuBlock, LongerThanItsOwnTiles) {
  const std::int64_t lengths[][2] = {{700, 700}, {700, 520}, {300, 900}};
  for (const auto& [s_q, s_kv] : lengths) {
    const BlockSizes sizes{.s_q = s_q, .s_kv = s_kv, .b = 1, .n = 2, .g = 1, .d = 16, .d_v = 16};
    for (const std::int64_t right : {kUnbounded, std::int64_t{0}, std::int64_t{130}, std::int64_t{-170}}) {
      const BlockCase c = make_block(sizes, {kUnbounded, right});
      EXPECT_TRUE(
          near(run_block(*make_flash_cpu_block_attention(), c), run_block(*make_composed_block_attention(), c), 1e-12))
          << describe(sizes, c.band);
    }
  }
}

// Two blocks of keys, `cut` in the first, merged; backward with the merged output.
BlockOutput run_in_two(const BlockAttention& block, const BlockCase& c, std::int64_t cut, bool merged_lse = true) {
  const BlockSizes z{c.q.size(0), c.k.size(0), c.q.size(1), c.q.size(2), c.k.size(2), c.q.size(3), c.v.size(3)};
  const std::int64_t begins[] = {0, cut}, lengths[] = {cut, z.s_kv - cut};
  const auto part = [&](const at::Tensor& x, int i) { return x.narrow(0, begins[i], lengths[i]); };
  const auto call = [&](int i) {
    const Band band{c.band.left == kUnbounded ? kUnbounded : c.band.left + begins[i],
                    c.band.right == kUnbounded ? kUnbounded : c.band.right - begins[i]};
    return BlockCall{.scale = c.call().scale, .band = band};
  };
  const at::Tensor like = at::empty({0, c.q.size(1), c.q.size(2), z.d_v}, c.q.options());
  RowAccumulator sum(RowAccumulator::Kind::softmax, like, c.q.size(0), accumulate_type(c.q.scalar_type()));
  at::Tensor own_lse[2];
  for (int i = 0; i < 2; ++i) {
    const BlockResult r = block.forward(c.q, part(c.k, i), part(c.v, i), call(i));
    own_lse[i] = r.lse;
    sum.add({0, c.q.size(0)}, -1, r.out, r.lse);
  }
  const auto [out, lse] = sum.result(c.q.scalar_type());
  BlockGradient g[2];
  for (int i = 0; i < 2; ++i) {
    const OutputGradient output{c.d_out, out, merged_lse ? lse : own_lse[i], delta_of(c.d_out, out)};
    g[i] = block.backward(c.q, part(c.k, i), part(c.v, i), output, call(i));
  }
  return {out, lse, g[0].dq + g[1].dq, at::cat({g[0].dk, g[1].dk}), at::cat({g[0].dv, g[1].dv})};
}

TEST(CpuBlock, TwoBlocksOfKeysAreOne) {
  const auto composed = make_composed_block_attention(), fused = make_flash_cpu_block_attention();
  for_all_blocks([&](const BlockSizes& sizes, const Band& band) {
    const BlockCase c = make_block(sizes, band);
    const BlockOutput expected = naive_block(c);
    for (const std::int64_t cut : {std::int64_t{0}, sizes.s_kv / 3, sizes.s_kv}) {
      EXPECT_TRUE(near(run_in_two(*composed, c, cut), expected, 1e-13)) << describe(sizes, band) << " cut " << cut;
      EXPECT_TRUE(near(run_in_two(*fused, c, cut), expected, 1e-13)) << describe(sizes, band) << " cut " << cut;
    }
  });
}

// Negative controls: each of these must be seen.
TEST(BlockControl, ABandShiftedByOne) {
  BlockCase c = make_block({}, {3, 1});
  const BlockOutput expected = naive_block(c);
  ASSERT_TRUE(near(run_block(*make_composed_block_attention(), c), expected, 1e-13));
  for (const Band& band : {Band{4, 1}, Band{3, 0}, Band{4, 0}, Band::all()}) {
    c.band = band;
    EXPECT_FALSE(near(run_block(*make_composed_block_attention(), c), expected, 1e-3));
  }
}

TEST(BlockControl, BackwardWithoutTheMergedLse) {
  const BlockCase c = make_block({}, Band::all());
  const BlockOutput expected = naive_block(c);
  for (const auto& block : {make_composed_block_attention(), make_flash_cpu_block_attention()}) {
    ASSERT_TRUE(near(run_in_two(*block, c, 4), expected, 1e-13));
    EXPECT_FALSE(near(run_in_two(*block, c, 4, false), expected, 1e-3));
  }
}

// Central differences of sum(out * d_out), for some elements of each input; with dropout, whose mask stays the same.
TEST(ComposedBlock, GradientsAreTheSlopes) {
  const AttentionDropout dropout = some_dropout(1);
  BlockCase c = make_block({.s_q = 5, .s_kv = 6, .b = 1, .n = 2, .g = 1, .d = 3, .d_v = 2}, {2, 1}, &dropout);
  const auto block = make_composed_block_attention();
  const BlockOutput got = run_block(*block, c);
  const auto value = [&] { return (run_block(*block, c).out * c.d_out).sum().item<double>(); };
  const double step = 1e-5;
  const std::pair<at::Tensor, at::Tensor> pairs[] = {{c.q, got.dq}, {c.k, got.dk}, {c.v, got.dv}};
  for (const auto& [input, gradient] : pairs) {
    const at::Tensor flat = input.view({-1});
    for (std::int64_t i = 0; i < flat.numel(); i += 2) {
      const at::Tensor element = flat[i];
      const double before = element.item<double>();
      element.fill_(before + step);
      const double above = value();
      element.fill_(before - step);
      const double below = value();
      element.fill_(before);
      EXPECT_NEAR(gradient.reshape({-1})[i].item<double>(), (above - below) / (2 * step), 1e-8);
    }
  }
}

TEST(ComposedBlock, RefusesShapesThatDoNotFit) {
  const auto block = make_composed_block_attention();
  const at::Tensor q = at::ones({3, 1, 4, 4}), k = at::ones({3, 1, 3, 4}), k2 = at::ones({3, 1, 2, 4});
  EXPECT_ANY_THROW(block->forward(q, k, k, {}));
  EXPECT_ANY_THROW(block->forward(q, k2, at::ones({2, 1, 2, 4}), {}));
}

}  // namespace
}  // namespace ringtron

// The reference against the composed block attention over the tiles of the mask, which share no code with it.
#include "tests/context_parallel/reference_attention.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <optional>

#include "ringtron/context_parallel/block/row_accumulator.h"
#include "tests/context_parallel/block_case.h"

namespace ringtron {
namespace {

using testing::AttentionCase;
using testing::CaseSizes;
using testing::Results;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// One sample of a whole call, put together from the tiles of its mask: the block attention, the masks and the
// reference must mean the same by windows, documents and sinks.
Results sample_by_tiles(const AttentionCase& c, const AttentionMask& mask, std::int64_t sample) {
  const auto of = [&](const at::Tensor& x) { return x.narrow(1, sample, 1); };
  const auto rows = [](const at::Tensor& x, const PositionRange& r) { return x.narrow(0, r.begin, r.length()); };
  const at::Tensor q = of(c.q), k = of(c.k), v = of(c.v), d_out = of(c.d_out);
  const auto block = make_composed_block_attention();
  std::optional<AttentionDropout> dropout = c.call.dropout;
  if (dropout) dropout->sample_numbers = {c.call.dropout->sample_numbers[static_cast<std::size_t>(sample)]};
  const auto call = [&](const MaskTile& tile) {
    return BlockCall{.scale = c.call.scale,
                     .band = tile.band,
                     .dropout = dropout ? &*dropout : nullptr,
                     .q_positions = {&tile.queries, 1},
                     .kv_positions = {&tile.keys, 1}};
  };
  const PositionRange all{0, q.size(0)};
  const std::vector<MaskTile> tiles = mask.tiles(all, all);
  const at::Tensor like = at::empty({0, q.size(1), q.size(2), v.size(3)}, q.options());
  RowAccumulator sum(RowAccumulator::Kind::softmax, like, q.size(0), at::kDouble);
  for (const MaskTile& tile : tiles) {
    const BlockResult r = block->forward(rows(q, tile.queries), rows(k, tile.keys), rows(v, tile.keys), call(tile));
    sum.add(tile.queries, -1, r.out, r.lse);
  }
  at::Tensor sink = at::full({q.size(2)}, c.call.softmax == SoftmaxKind::vanilla ? -kInfinity : 0.0, at::kDouble);
  if (c.call.sink.defined()) sink = c.call.sink;
  const at::Tensor sinks = sink.view({1, -1, 1}).expand({1, q.size(2), q.size(0)});
  sum.add(all, -1, at::zeros_like(d_out), sinks);
  const auto [out, lse] = sum.result(at::kDouble);
  const at::Tensor delta = testing::delta_of(d_out, out);
  Results results{out, at::zeros_like(q), at::zeros_like(k), at::zeros_like(v)};
  for (const MaskTile& tile : tiles) {
    const OutputGradient output{rows(d_out, tile.queries), rows(out, tile.queries),
                                lse.narrow(2, tile.queries.begin, tile.queries.length()),
                                delta.narrow(2, tile.queries.begin, tile.queries.length())};
    const BlockGradient g =
        block->backward(rows(q, tile.queries), rows(k, tile.keys), rows(v, tile.keys), output, call(tile));
    rows(results[1], tile.queries).add_(g.dq);
    rows(results[2], tile.keys).add_(g.dk);
    rows(results[3], tile.keys).add_(g.dv);
  }
  if (c.call.sink.defined()) results.push_back(-((sinks - lse).exp() * delta).sum(at::IntArrayRef{0, 2}));
  return results;
}

TEST(Reference, IsTheTilesOfTheMask) {
  std::vector<CaseSizes> cases = testing::parity_cases();
  for (const CaseSizes& sizes : testing::masked_cases()) cases.push_back(sizes);
  for (const std::int64_t length : {0, 1, 2, 7}) {
    cases.push_back({.sequence = length, .window = {.left = 2}, .softmax = SoftmaxKind::learnable});
  }
  for (std::size_t number = 0; number < cases.size(); ++number) {
    const AttentionCase c = testing::make_case(cases[number]);
    const std::vector<AttentionMask> masks = testing::masks_of(cases[number]);
    const Results expected = testing::reference_results(c);
    at::Tensor d_sink = at::zeros({c.q.size(2)}, at::kDouble);
    for (std::int64_t sample = 0; sample < c.q.size(1); ++sample) {
      const Results got = sample_by_tiles(c, masks[masks.size() == 1 ? 0 : static_cast<std::size_t>(sample)], sample);
      for (std::size_t i = 0; i < testing::kSinkResult; ++i) {
        EXPECT_TENSOR_NEAR(got[i], expected[i].narrow(1, sample, 1), 1e-13)
            << testing::kResultNames[i] << " " << number;
      }
      if (got.size() > testing::kSinkResult) d_sink += got[testing::kSinkResult];
    }
    if (expected.size() <= testing::kSinkResult) continue;
    EXPECT_TENSOR_NEAR(d_sink, expected[testing::kSinkResult], 1e-13);
  }
}

// Negative control: a window longer by one, a document that begins one later.
TEST(ReferenceControl, AnotherMaskIsSeen) {
  const CaseSizes window{.window = {.left = 7}}, documents{.documents = {{0, 20}, {}}};
  const CaseSizes other_window{.window = {.left = 8}}, other_documents{.documents = {{0, 21}, {}}};
  const auto out = [](const CaseSizes& sizes) { return testing::reference_results(testing::make_case(sizes))[0]; };
  EXPECT_FALSE(testing::tensor_near(out(other_window), out(window), 1e-3));
  EXPECT_FALSE(testing::tensor_near(out(other_documents), out(documents), 1e-3));
}

}  // namespace
}  // namespace ringtron

// Batches of tiles in place of single attends: the same results, counts and faults. The kernel here composes each tile, on
// the CPU; how a plan is run is the same as on a GPU.
#include "ringtron/context_parallel/step_calls.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>

#include "tests/context_parallel/ring_parity.h"

namespace ringtron {
namespace {

using testing::CaseSizes;
using testing::Results;

at::Tensor of_tile(const at::Tensor& x, const Tile& tile, const PositionRange& rows) {
  const at::Tensor part = x.narrow(0, rows.begin, rows.length());
  return tile.sample == kEverySample ? part : part.narrow(1, tile.sample, 1);
}
at::Tensor heads_of_tile(const at::Tensor& x, const Tile& tile) {  // [b, n, s]
  const at::Tensor part = x.narrow(2, tile.q.begin, tile.q.length());
  return tile.sample == kEverySample ? part : part.narrow(0, tile.sample, 1);
}

class ComposedTiles final : public TileAttention {
 public:
  bool supports(const at::Tensor&, const at::Tensor&, const at::Tensor&, AttentionPass) const override { return true; }

  BlockResult forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const std::shared_ptr<const TileBatch>& batch, double scale) const override {
    BlockResult whole{at::zeros({q.size(0), q.size(1), q.size(2), v.size(3)}, q.options()),
                      at::full({q.size(1), q.size(2), q.size(0)}, -std::numeric_limits<double>::infinity(), q.options())};
    for (const Tile& tile : batch->tiles) {
      const BlockResult part =
          one_->forward(of_tile(q, tile, tile.q), of_tile(k, tile, tile.kv), of_tile(v, tile, tile.kv), call(*batch, scale));
      of_tile(whole.out, tile, tile.q).copy_(part.out);
      heads_of_tile(whole.lse, tile).copy_(part.lse);
    }
    return whole;
  }

  BlockGradient backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const OutputGradient& output,
                         const std::shared_ptr<const TileBatch>& batch, double scale) const override {
    BlockGradient whole{at::zeros_like(q), at::zeros_like(k), at::zeros_like(v)};
    for (const Tile& tile : batch->tiles) {
      const OutputGradient rows{of_tile(output.d_out, tile, tile.q), of_tile(output.out, tile, tile.q),
                                heads_of_tile(output.lse, tile), heads_of_tile(output.delta, tile)};
      const BlockGradient part = one_->backward(of_tile(q, tile, tile.q), of_tile(k, tile, tile.kv),
                                                of_tile(v, tile, tile.kv), rows, call(*batch, scale));
      of_tile(whole.dq, tile, tile.q).copy_(part.dq);
      of_tile(whole.dk, tile, tile.kv).copy_(part.dk);
      of_tile(whole.dv, tile, tile.kv).copy_(part.dv);
    }
    return whole;
  }

 private:
  static BlockCall call(const TileBatch& batch, double scale) {
    BlockCall call;
    call.scale = scale;
    call.band = batch.causal ? Band::causal() : Band::all();
    return call;
  }
  std::unique_ptr<BlockAttention> one_ = make_composed_block_attention();
};

class BlockWithTiles final : public BlockAttention {
 public:
  BlockResult forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const BlockCall& call) const override {
    return one_->forward(q, k, v, call);
  }
  BlockGradient backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const OutputGradient& output,
                         const BlockCall& call) const override {
    return one_->backward(q, k, v, output, call);
  }
  const TileAttention* tiles() const override { return &tiles_; }

 private:
  std::unique_ptr<BlockAttention> one_ = make_composed_block_attention();
  ComposedTiles tiles_;
};

struct Outcome {
  std::vector<Results> ranks;
  std::vector<ExchangeCounts> counts;
  std::int64_t attends = 0;  // calls of kernels on all ranks
  int most_waiting = 0;      // attends of a rank that had not been merged, at most
};

class CallCounter final : public RunObserver {
 public:
  void begin(std::string_view what, int) override {
    if (what == "merge") waiting_ = 0;
    if (what != "attend") return;
    ++calls;
    most_waiting = std::max(most_waiting, ++waiting_);
  }
  void end() override {}
  std::int64_t calls = 0;
  int most_waiting = 0;

 private:
  int waiting_ = 0;
};

Outcome run(const CaseSizes& sizes, const SequenceLayout& layout, bool batched, CpFault fault = CpFault::none) {
  const testing::AttentionCase c = testing::make_case(sizes);
  const std::vector<AttentionMask> masks = testing::masks_of(sizes);
  const auto ranks = static_cast<std::size_t>(layout.ranks());
  Outcome outcome{std::vector<Results>(ranks), std::vector<ExchangeCounts>(ranks)};
  std::vector<CallCounter> counters(ranks);
  testing::ThreadRing(layout.ranks()).run([&](Communicator& comm) {
    const auto rank = static_cast<std::size_t>(comm.rank());
    const TransportPlan plan = make_transport_plan(sizes.transport, 1, {layout, masks}, comm.rank());
    const PlanTiles tiles{tile_batches(plan.forward), tile_batches(plan.backward)};
    const BlockWithTiles block;
    PlanContext context{comm, plan.inner, block};
    context.scale = c.call.scale;
    context.type = context.key_gradient_type = at::kDouble;
    context.tiles = batched ? &tiles : nullptr;
    context.counts = &outcome.counts[rank];
    context.observer = &counters[rank];
    context.fault = fault;
    const auto mine = [&](const at::Tensor& x) { return testing::shard(x, layout, comm.rank()); };
    const at::Tensor q = mine(c.q), k = mine(c.k), v = mine(c.v);
    const ForwardState state = run_forward(plan.forward, plan.keeps_last_block, context, q, k, v);
    const SavedForward saved{q, plan.keeps_last_block ? state.last_k : k, plan.keeps_last_block ? state.last_v : v,
                             state.out, state.lse};
    const PlanGradient gradient = run_backward(plan.backward, plan.keeps_last_block, context, saved, mine(c.d_out));
    outcome.ranks[rank] = {state.out, gradient.dq, gradient.dk, gradient.dv};
  });
  for (const CallCounter& counter : counters) {
    outcome.attends += counter.calls;
    outcome.most_waiting = std::max(outcome.most_waiting, counter.most_waiting);
  }
  return outcome;
}

std::vector<CaseSizes> document_cases() {
  const std::vector<std::vector<std::int64_t>> same = {{0, 3, 4, 20, 33}, {3, 4, 20, 33}};
  const std::vector<std::vector<std::int64_t>> different = {{0, 1, 2, 20, 45}, {7, 8, 9, 30, 31, 40}};
  return {
      {.documents = same},
      {.documents = different},
      {.causal = false, .documents = different},
      {.value_size = 3, .documents = different},
      {.window = {.left = 4}, .documents = different},
      {.documents = different, .transport = CpTransport::all_gather},
  };
}

TEST(StepCalls, BatchesGiveTheResultsAndCountsOfSingleAttends) {
  for (CaseSizes sizes : document_cases()) {
    const Results expected = testing::reference_results(testing::make_case(sizes));
    for (const auto& [name, ranks] : {std::pair{"contiguous", 1}, {"zigzag", 2}, {"zigzag", 3}, {"balanced", 4}}) {
      sizes.layout = name;
      const SequenceLayout layout = testing::layout_of(sizes, ranks);
      const Outcome one_by_one = run(sizes, layout, false), batched = run(sizes, layout, true);
      EXPECT_EQ(testing::differences(batched.ranks, expected, layout, testing::kFp64ReorderTolerance), "")
          << name << " " << ranks;
      EXPECT_EQ(batched.counts, one_by_one.counts);
      EXPECT_EQ(one_by_one.most_waiting, 1) << "attends that do not overlap keep no results";
      if (!sizes.window.limited()) {
        EXPECT_LT(batched.attends, one_by_one.attends);
      }
    }
  }
}

TEST(StepCalls, FaultsAreSeenThroughBatches) {
  CaseSizes sizes = document_cases()[1];
  const SequenceLayout layout = testing::layout_of(sizes, 2);
  const Outcome sound = run(sizes, layout, true);
  const Results expected = testing::reference_results(testing::make_case(sizes));
  const Outcome dropped = run(sizes, layout, true, CpFault::drop_merge);
  EXPECT_NE(testing::differences(dropped.ranks, expected, layout, 1e-6), "");
  EXPECT_EQ(dropped.counts, sound.counts);
  const Outcome twice = run(sizes, layout, true, CpFault::double_count);
  EXPECT_NE(testing::differences(twice.ranks, expected, layout, 1e-6), "");
  EXPECT_GT(twice.counts[0].cells, sound.counts[0].cells);
  const Outcome skipped = run(sizes, layout, true, CpFault::skip_exchange);
  EXPECT_NE(testing::differences(skipped.ranks, expected, layout, 1e-6), "");
  EXPECT_LT(skipped.counts[0].bytes, sound.counts[0].bytes);
}

TEST(StepCalls, DropoutAndKernelsWithoutTilesGoOneByOne) {
  const CaseSizes sizes = document_cases()[1];
  const std::vector<AttentionMask> masks = testing::masks_of(sizes);
  const SequenceLayout layout = contiguous_layout(sizes.sequence, 1);
  const ExchangePlan plan = plan_p2p({layout, masks}, 0).forward;
  const PlanTiles tiles{tile_batches(plan), {}};
  const testing::AttentionCase c = testing::make_case(sizes);
  const AttentionDropout dropout{.p = 0.1, .key = 1, .sample_numbers = {0, 1}, .head_offset = 0};
  testing::ThreadRing(1).run([&](Communicator& comm) {
    const BlockWithTiles able;
    const auto unable = make_composed_block_attention();
    const auto calls = [&](const BlockAttention& block, const AttentionDropout* drops) {
      PlanContext context{comm, layout, block};
      context.tiles = &tiles;
      context.dropout = drops;
      return internal::StepCalls(plan, context, AttentionPass::forward, c.q, c.k, c.v).of_step(0);
    };
    EXPECT_NE(calls(able, nullptr).front().batch, nullptr);
    EXPECT_EQ(calls(able, &dropout).front().batch, nullptr);
    EXPECT_EQ(calls(*unable, nullptr).size(), plan.steps[0].attends.size());
  });
}

}  // namespace
}  // namespace ringtron

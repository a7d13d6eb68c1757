// A backward whose kernel puts gradients where it is told to, as cuDNN does: parts of the heads, and gradients that are written
// straight into a message. On the CPU, one attend after the other.
#include "ringtron/context_parallel/backward_attends.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <memory>

#include "tests/context_parallel/ring_parity.h"

namespace ringtron {
namespace {

using testing::CaseSizes;
using testing::Results;

constexpr double kTolerance = 5e-3;  // of fp16 blocks

// Composed; a backward's results are fp16, in the room that is given.
class ObedientBlock final : public BlockAttention {
 public:
  BlockResult forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const BlockCall& call) const override {
    return one_->forward(q.to(at::kFloat), k.to(at::kFloat), v.to(at::kFloat), call);
  }

  BlockGradient backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const OutputGradient& output,
                         const BlockCall& call) const override {
    BlockCall composed = call;
    composed.into = nullptr;
    const OutputGradient whole{output.d_out.to(at::kFloat), output.out.to(at::kFloat), output.lse, output.delta};
    const BlockGradient all = one_->backward(q.to(at::kFloat), k.to(at::kFloat), v.to(at::kFloat), whole, composed);
    if (call.into == nullptr) return {all.dq.to(at::kHalf), all.dk.to(at::kHalf), all.dv.to(at::kHalf)};
    if (call.into->dk.is_contiguous()) {
      ++in_messages;  // rows of a larger tensor, whose others may hold anything
      spoil(call.into->dk);
      spoil(call.into->dv);
    } else {
      ++in_parts;
    }
    call.into->dq.copy_(all.dq);
    call.into->dk.copy_(all.dk);
    call.into->dv.copy_(all.dv);
    return *call.into;
  }

  mutable std::atomic<int> in_messages = 0, in_parts = 0;

 private:
  static void spoil(const at::Tensor& rows) {
    const auto count = static_cast<std::int64_t>(rows.storage().nbytes() / rows.element_size());
    at::empty({0}, rows.options()).set_(rows.storage(), 0, {count}, {1}).fill_(NAN);
  }
  std::unique_ptr<BlockAttention> one_ = make_composed_block_attention();
};

// Of all ranks, in fp16 blocks.
std::vector<Results> run(const testing::AttentionCase& c, const CaseSizes& sizes, const SequenceLayout& layout, const ObedientBlock& block) {
  const std::vector<AttentionMask> masks = testing::masks_of(sizes);
  std::vector<Results> results(static_cast<std::size_t>(layout.ranks()));
  testing::ThreadRing(layout.ranks()).run([&](Communicator& comm) {
    const TransportPlan plan = make_transport_plan(sizes.transport, 1, {layout, masks}, comm.rank());
    PlanContext context{comm, plan.inner, block};
    context.scale = c.call.scale;
    context.type = context.key_gradient_type = at::kFloat;
    context.fillers = sizes.fillers;
    const auto mine = [&](const at::Tensor& x) { return testing::shard(x, layout, comm.rank()).to(at::kHalf).contiguous(); };
    const at::Tensor q = mine(c.q), k = mine(c.k), v = mine(c.v);
    const ForwardState state = run_forward(plan.forward, plan.keeps_last_block, context, q, k, v);
    const SavedForward saved{q, plan.keeps_last_block ? state.last_k : k, plan.keeps_last_block ? state.last_v : v, state.out, state.lse};
    const at::Tensor d_out = testing::shard(c.d_out, layout, comm.rank()).to(at::kFloat).contiguous();
    const PlanGradient gradient = run_backward(plan.backward, plan.keeps_last_block, context, saved, d_out);
    Results& result = results[static_cast<std::size_t>(comm.rank())];
    for (const at::Tensor& x : {state.out, gradient.dq, gradient.dk, gradient.dv}) result.push_back(x.to(at::kDouble));
  });
  return results;
}

TEST(BackwardAttends, KernelsThatWriteIntoPartsAndMessages) {
  for (const CpTransport transport : {CpTransport::p2p, CpTransport::all_gather}) {
    for (const int ranks : {2, 3, 4}) {
      for (const CpFillers fillers : {CpFillers::beside_each_other, CpFillers::always}) {
        const CaseSizes sizes{.heads = 16, .groups = 8, .head_size = 8, .transport = transport, .fillers = fillers};
        SCOPED_TRACE(::testing::Message() << to_text(transport) << " over " << ranks << " ranks, fillers " << static_cast<int>(fillers));
        const testing::AttentionCase c = testing::make_case(sizes);
        const SequenceLayout layout = testing::layout_of(sizes, ranks);
        const ObedientBlock block;
        EXPECT_EQ(testing::differences(run(c, sizes, layout, block), testing::reference_results(c), layout, kTolerance), "");
        const bool ring = transport == CpTransport::p2p;
        // The last rank of a zigzag sees half of the block that it begins with.
        EXPECT_EQ(block.in_messages, ring ? 1 : 0);
        EXPECT_EQ(block.in_parts > 0, !ring || fillers == CpFillers::always);
      }
    }
  }
}

}  // namespace
}  // namespace ringtron

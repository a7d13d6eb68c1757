#include "ringtron/context_parallel/context_parallel.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <map>
#include <memory>
#include <tuple>
#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/plan_runner.h"

namespace ringtron {
namespace {

struct PlansOfRank {
  ExchangePlan forward, backward;
};

// Shared with the autograd graph, which may outlive the CpAttention.
struct Ring {
  Communicator& group;
  const SequenceLayout layout;
  const PlansOfRank causal, full;
  const bool deterministic;
  // Kept between calls: an implementation may cache what is costly to make.
  std::map<std::tuple<c10::DeviceType, at::ScalarType, bool>, std::unique_ptr<BlockAttention>> blocks;

  const PlansOfRank& plans(bool is_causal) const { return is_causal ? causal : full; }

  const BlockAttention& block(const at::Tensor& q, bool dropout) {
    auto& block = blocks[{q.device().type(), q.scalar_type(), dropout}];
    if (!block) block = make_block_attention(q.device().type(), q.scalar_type(), dropout, deterministic);
    return *block;
  }
};

// What autograd keeps besides tensors.
struct CallState final : torch::CustomClassHolder {
  CallState(std::shared_ptr<Ring> shared_ring, AttentionCall attention_call)
      : ring(std::move(shared_ring)), call(std::move(attention_call)) {}
  std::shared_ptr<Ring> ring;
  AttentionCall call;

  const AttentionDropout* dropout() const {
    return call.dropout && call.dropout->p > 0.0 ? &*call.dropout : nullptr;
  }
  PlanContext context(const at::Tensor& q) const {
    return {ring->group, ring->layout, ring->block(q, dropout() != nullptr), call.scale, dropout()};
  }
};

class RingFunction : public torch::autograd::Function<RingFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const c10::intrusive_ptr<CallState>& state) {
    const ExchangePlan& plan = state->ring->plans(state->call.causal).forward;
    ForwardState done = run_forward(plan, state->context(q), q, k, v);
    // A ring of many saves the block it ends with; its own K and V may go.
    const bool packed = done.last_key_value.defined();
    ctx->save_for_backward(
        {q, packed ? at::Tensor() : k, packed ? at::Tensor() : v, done.out, done.lse, done.last_key_value});
    ctx->saved_data["state"] = c10::IValue::make_capsule(state);
    return done.out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& d_out) {
    const auto saved = ctx->get_saved_variables();
    const auto state = c10::static_intrusive_pointer_cast<CallState>(ctx->saved_data["state"].toCapsule());
    const ExchangePlan& plan = state->ring->plans(state->call.causal).backward;
    const SavedForward before{saved[0], saved[1], saved[2], saved[3], saved[4], saved[5]};
    BlockGradient gradient = run_backward(plan, state->context(before.q), before, d_out[0].contiguous());
    return {gradient.dq, gradient.dk, gradient.dv, at::Tensor()};
  }
};

class RingAttention final : public CpAttention {
 public:
  explicit RingAttention(std::shared_ptr<Ring> ring) : ring_(std::move(ring)) {}

  at::Tensor forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const AttentionCall& call) override {
    RT_CHECK(q.dim() == 4 && k.dim() == 4 && k.sizes() == v.sizes(),
             "attention wants q [s, b, n, d], k and v [s, b, g, d]");
    RT_CHECK(k.scalar_type() == q.scalar_type() && v.scalar_type() == q.scalar_type(),
             "q, k and v differ in type");
    return RingFunction::apply(q.contiguous(), k.contiguous(), v.contiguous(),
                               c10::make_intrusive<CallState>(ring_, call));
  }

 private:
  std::shared_ptr<Ring> ring_;
};

}  // namespace

std::unique_ptr<CpAttention> make_cp_attention(Communicator& ring, SequenceLayout layout, bool deterministic) {
  RT_CHECK_EQ(layout.ranks(), ring.size(), "ranks of the sequence layout and of group " + ring.name());
  const int rank = ring.rank();
  PlansOfRank causal{plan_p2p_forward(layout, true, rank), plan_p2p_backward(layout, true, rank)};
  PlansOfRank full{plan_p2p_forward(layout, false, rank), plan_p2p_backward(layout, false, rank)};
  return std::make_unique<RingAttention>(
      std::shared_ptr<Ring>(new Ring{ring, std::move(layout), std::move(causal), std::move(full), deterministic, {}}));
}

}  // namespace ringtron

#include "ringtron/context_parallel/context_parallel.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>
#include <memory>
#include <optional>
#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/attention_state.h"
#include "ringtron/context_parallel/observed.h"
#include "ringtron/kernels/half_scale/half_scale.h"

namespace ringtron {
namespace {

using internal::AttentionEngine;
using internal::AttentionState;
using internal::Observed;

// What one group of heads saves for the backward: q, k, v, out, lse.
constexpr std::size_t kSavedPerGroup = 5;

torch::autograd::variable_list saved_of(const ForwardState& state, const at::Tensor& q, const at::Tensor& k,
                                        const at::Tensor& v) {
  // A ring saves the block it ends with; its own K and V may go.
  const bool last = state.last_k.defined();
  return {q, last ? state.last_k : k, last ? state.last_v : v, state.out, state.lse};
}

class CpFunction : public torch::autograd::Function<CpFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& q, const at::Tensor& given_k,
                            const at::Tensor& v, const at::Tensor& /*sink*/, const c10::intrusive_ptr<AttentionState>& state) {
    const at::Tensor k = state->fault() == CpFault::swap_chunks ? with_ends_swapped(given_k) : given_k;
    torch::autograd::variable_list saved;
    state->begin_kept();
    at::Tensor out = state->exchanges_heads() ? over_heads(*state, q, k, v, saved) : alone(*state, q, k, v, saved);
    state->end_kept();
    ctx->save_for_backward(std::move(saved));
    ctx->saved_data["state"] = c10::IValue::make_capsule(state);
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& d_out) {
    const auto saved = ctx->get_saved_variables();
    const auto state = c10::static_intrusive_pointer_cast<AttentionState>(ctx->saved_data["state"].toCapsule());
    state->expect_backward();
    const at::Tensor grad = d_out[0].contiguous();
    PlanGradient gradient = state->exchanges_heads() ? over_heads_backward(*state, grad, saved)
                                                     : alone_backward(*state, grad, saved);
    at::Tensor d_sink;
    if (state->call().softmax == SoftmaxKind::learnable) d_sink = gradient.d_sink.to(state->call().sink.scalar_type());
    const at::ScalarType type = grad.scalar_type();
    return {gradient.dq, gradient.dk.to(type), gradient.dv.to(type), d_sink, at::Tensor()};
  }

 private:
  static SavedForward group_of(const torch::autograd::variable_list& saved, std::size_t group) {
    const auto* at = saved.data() + group * kSavedPerGroup;
    return {at[0], at[1], at[2], at[3], at[4]};
  }

  // q, k and v in the type in which blocks are computed.
  static std::array<at::Tensor, 3> for_blocks(const AttentionState& state, const std::array<at::Tensor, 3>& x) {
    if (state.block_type() == x[0].scalar_type()) return x;
    return {to_half(x[0]), to_half(x[1]), to_half(x[2])};
  }

  static std::vector<at::Tensor> finish(HeadExchange& exchange, PendingHeads& pending, const AttentionState& state) {
    const Observed observed(state.observer(), "wait");
    return exchange.finish(pending);
  }

  static at::Tensor alone(const AttentionState& state, const at::Tensor& given_q, const at::Tensor& given_k,
                          const at::Tensor& given_v, torch::autograd::variable_list& saved) {
    const auto [q, k, v] = for_blocks(state, {given_q, given_k, given_v});
    std::optional<AttentionDropout> dropout;
    const TransportPlan& plan = state.plan();
    PlanContext context = state.context(q, state.shares().front(), dropout);
    state.use_kept_blocks(0, context);
    const ForwardState done = run_forward(plan.forward, plan.keeps_last_block, context, q, k, v);
    saved = saved_of(done, q, k, v);
    return done.out;
  }

  static PlanGradient alone_backward(const AttentionState& state, const at::Tensor& d_out,
                                     const torch::autograd::variable_list& saved) {
    std::optional<AttentionDropout> dropout;
    const TransportPlan& plan = state.plan();
    const SavedForward before = group_of(saved, 0);
    const PlanContext context = state.context(before.q, state.shares().front(), dropout);
    return run_backward(plan.backward, plan.keeps_last_block, context, before, d_out);
  }

  // Part `i` of the heads; `mine`: its q, k and v.
  static ForwardState attend(const AttentionState& state, std::size_t i, const std::array<at::Tensor, 3>& mine,
                             torch::autograd::variable_list& saved) {
    std::optional<AttentionDropout> dropout;
    PlanContext context = state.context(mine[0], state.shares()[i], dropout);
    state.use_kept_blocks(i, context);
    const TransportPlan& plan = state.plan();
    ForwardState done = run_forward(plan.forward, plan.keeps_last_block, context, mine[0], mine[1], mine[2]);
    const auto group = saved_of(done, mine[0], mine[1], mine[2]);
    saved.insert(saved.end(), group.begin(), group.end());
    return done;
  }

  // over_heads with what an earlier call kept.
  static at::Tensor over_kept_heads(const AttentionState& state, torch::autograd::variable_list& saved) {
    for (std::size_t i = 0; i < state.shares().size(); ++i) attend(state, i, state.kept_heads(i), saved);
    return state.call().kept->out;
  }

  static at::Tensor over_heads(const AttentionState& state, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               torch::autograd::variable_list& saved) {
    if (state.replays()) return over_kept_heads(state, saved);
    HeadExchange exchange = state.head_exchange();
    const auto start = [&](std::size_t i) {
      const Observed observed(state.observer(), "to heads");
      return exchange.start_to_heads({{q, HeadKind::query}, {k, HeadKind::key_value}, {v, HeadKind::key_value}},
                                     state.shares()[i]);
    };
    const at::Tensor out = at::empty({q.size(0), q.size(1), q.size(2), v.size(3)}, q.options());
    // While one part of the heads is attended to, the next one comes and the one before goes.
    PendingHeads coming = start(0), going;
    for (std::size_t i = 0; i < state.shares().size(); ++i) {
      PendingHeads next;
      if (i + 1 < state.shares().size()) next = start(i + 1);
      const std::vector<at::Tensor> came = finish(exchange, coming, state);
      const std::array<at::Tensor, 3> mine = for_blocks(state, {came[0], came[1], came[2]});
      state.keep_heads(i, mine);
      const ForwardState done = attend(state, i, mine, saved);
      if (i > 0) finish(exchange, going, state);
      const Observed observed(state.observer(), "to sequence");
      going = exchange.start_to_sequence({{done.out, HeadKind::query}}, state.shares()[i], {out});
      coming = std::move(next);
    }
    finish(exchange, going, state);
    if (state.call().kept) state.call().kept->out = out.detach();
    return out;
  }

  static PlanGradient over_heads_backward(const AttentionState& state, const at::Tensor& d_out,
                                          const torch::autograd::variable_list& saved) {
    HeadExchange exchange = state.head_exchange();
    const TransportPlan& plan = state.plan();
    const auto start = [&](std::size_t i) {
      const Observed observed(state.observer(), "to heads");
      return exchange.start_to_heads({{d_out, HeadKind::query}}, state.shares()[i]);
    };
    const SavedForward first = group_of(saved, 0);
    const at::ScalarType accumulate = accumulate_type(d_out.scalar_type());
    // A key/value head of one rank only is rounded once, at the end of all sums, so it may travel in the model's type.
    const bool replicated = heads_are_replicated(state.shares().front());
    const at::ScalarType wire = replicated ? accumulate : d_out.scalar_type();
    const auto room = [&](const at::Tensor& like, std::int64_t n, at::ScalarType type) {
      return at::empty({d_out.size(0), d_out.size(1), n, like.size(3)}, like.options().dtype(type));
    };
    PlanGradient sum{room(first.q, state.heads(), d_out.scalar_type()), room(first.k, state.key_heads(), wire),
                     room(first.v, state.key_heads(), wire), at::Tensor()};
    if (replicated) {  // heads of several ranks are added up
      sum.dk.zero_();
      sum.dv.zero_();
    }
    if (state.call().softmax != SoftmaxKind::vanilla) {
      sum.d_sink = at::zeros({state.heads()}, d_out.options().dtype(accumulate));
    }
    PendingHeads coming = start(0), going;
    for (std::size_t i = 0; i < state.shares().size(); ++i) {
      PendingHeads next;
      if (i + 1 < state.shares().size()) next = start(i + 1);
      const at::Tensor mine = finish(exchange, coming, state).front();
      const SavedForward before = group_of(saved, i);
      std::optional<AttentionDropout> dropout;
      PlanContext context = state.context(before.q, state.shares()[i], dropout);
      context.key_gradient_type = wire;
      const PlanGradient part = run_backward(plan.backward, plan.keeps_last_block, context, before, mine);
      if (part.d_sink.defined()) {
        const HeadShare& share = state.shares()[i][static_cast<std::size_t>(exchange.head_rank())];
        sum.d_sink.narrow(0, share.q.begin, share.q.length()).copy_(part.d_sink);
      }
      if (i > 0) finish(exchange, going, state);
      const Observed observed(state.observer(), "to sequence");
      going = exchange.start_to_sequence(
          {{part.dq, HeadKind::query}, {part.dk, HeadKind::key_value}, {part.dv, HeadKind::key_value}}, state.shares()[i],
          {sum.dq, sum.dk, sum.dv});
      coming = std::move(next);
    }
    finish(exchange, going, state);
    return sum;
  }
};

class CpAttentionOfGroup final : public CpAttention {
 public:
  explicit CpAttentionOfGroup(std::shared_ptr<AttentionEngine> engine) : engine_(std::move(engine)) {}

  at::Tensor forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const AttentionCall& call) override {
    RT_CHECK(q.dim() == 4 && k.dim() == 4 && v.dim() == 4 && q.size(3) == k.size(3) && k.size(2) == v.size(2),
             "attention wants q [s, b, n, d], k [s, b, g, d] and v [s, b, g, d_v]");
    RT_CHECK(k.size(2) > 0 && q.size(2) % k.size(2) == 0, "{} query heads do not divide into {} groups", q.size(2),
             k.size(2));
    RT_CHECK(k.scalar_type() == q.scalar_type() && v.scalar_type() == q.scalar_type(), "q, k and v differ in type");
    const auto state = c10::make_intrusive<AttentionState>(engine_, call, q, k, v);
    // Autograd wants every tensor to be one.
    const at::Tensor sink = call.sink.defined() ? call.sink : at::empty({0}, q.options());
    return CpFunction::apply(q.contiguous(), k.contiguous(), v.contiguous(), sink, state);
  }

  ExchangeProof& proof() override { return engine_->proof(); }

 private:
  std::shared_ptr<AttentionEngine> engine_;
};

}  // namespace

std::unique_ptr<CpAttention> make_cp_attention(Communicator& group, SequenceLayout layout,
                                               const CpAttentionOptions& options) {
  RT_CHECK_EQ(layout.ranks(), group.size(), "ranks of the sequence layout and of group " + group.name());
  return std::make_unique<CpAttentionOfGroup>(std::make_shared<AttentionEngine>(group, std::move(layout), options));
}

}  // namespace ringtron

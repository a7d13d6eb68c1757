#include "ringtron/context_parallel/plan_runner.h"

#include <ATen/ATen.h>

#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/ring_exchange.h"
#include "ringtron/context_parallel/softmax_merge.h"

namespace ringtron {
namespace {

at::Tensor rows_of(const at::Tensor& x, const PositionRange& rows) { return x.narrow(0, rows.begin, rows.length()); }

// One attend of a plan, resolved to rows and positions. `call` points into the other members.
class ResolvedAttend {
 public:
  ResolvedAttend(const PlanContext& context, int rank, int owner, const Attend& attend)
      : q_rows(context.layout.rows(rank, attend.q)),
        kv_rows(context.layout.rows(owner, attend.kv)),
        q_positions_(context.layout.positions(rank, attend.q)),
        kv_positions_(context.layout.positions(owner, attend.kv)),
        call{context.scale, attend.mask == MaskKind::causal, context.dropout, q_positions_, kv_positions_} {}
  ResolvedAttend(const ResolvedAttend&) = delete;
  ResolvedAttend& operator=(const ResolvedAttend&) = delete;

  const PositionRange q_rows, kv_rows;

 private:
  const std::vector<PositionRange> q_positions_, kv_positions_;

 public:
  const BlockCall call;
};

// A key/value block on its way: the wire wants one tensor, the kernel two.
class KeyValueRing {
 public:
  // A ring of one never sends, so the copy into one message is spared.
  KeyValueRing(const at::Tensor& k, const at::Tensor& v, const at::Tensor& packed, bool travels)
      : k_(k), v_(v), packed_(travels && !packed.defined() ? at::stack({k, v}) : packed,
                              packed.defined() ? RingExchange::First::read_only : RingExchange::First::writable) {
    if (packed_.current().defined()) split();
  }

  const at::Tensor& k() const { return k_; }
  const at::Tensor& v() const { return v_; }
  RingExchange& exchange() { return packed_; }
  void arrived() {
    packed_.arrived();
    split();
  }

 private:
  void split() {
    k_ = packed_.current().select(0, 0);
    v_ = packed_.current().select(0, 1);
  }

  at::Tensor k_, v_;
  RingExchange packed_;
};

void check_shapes(const PlanContext& context, const ExchangePlan& plan, const at::Tensor& q, const at::Tensor& k) {
  RT_CHECK_EQ(plan.rank, context.ring.rank(), "rank of the plan and of group " + context.ring.name());
  RT_CHECK_EQ(plan.ranks, context.ring.size(), "ranks of the plan and of group " + context.ring.name());
  RT_CHECK_EQ(q.size(0), context.layout.local_length(), "rows of q on one context-parallel rank");
  RT_CHECK_EQ(k.size(0), context.layout.local_length(), "rows of k on one context-parallel rank");
}

at::Tensor zeros_to_accumulate(at::IntArrayRef sizes, const at::Tensor& like) {
  return at::zeros(sizes, like.options().dtype(accumulate_type(like.scalar_type())));
}

}  // namespace

ForwardState run_forward(const ExchangePlan& plan, const PlanContext& context, const at::Tensor& q, const at::Tensor& k,
                         const at::Tensor& v) {
  check_shapes(context, plan, q, k);
  SoftmaxAccumulator accumulator(q);
  KeyValueRing held(k, v, at::Tensor(), plan.ranks > 1);
  for (const Step& step : plan.steps) {
    Work hop = start_messages(step, context.ring, held.exchange(), nullptr);
    for (const Attend& attend : step.attends) {
      const ResolvedAttend a(context, plan.rank, step.owner, attend);
      const BlockResult part = context.block.forward(rows_of(q, a.q_rows), rows_of(held.k(), a.kv_rows),
                                                     rows_of(held.v(), a.kv_rows), a.call);
      accumulator.merge(a.q_rows.begin, part.out, part.lse);
    }
    hop.wait();
    if (receives(step, Payload::key_value)) held.arrived();
  }
  return {accumulator.out(), accumulator.lse(), held.exchange().current()};
}

BlockGradient run_backward(const ExchangePlan& plan, const PlanContext& context, const SavedForward& saved,
                           const at::Tensor& d_out) {
  const at::Tensor& q = saved.q;
  const at::ScalarType accumulate = accumulate_type(q.scalar_type());
  const OutputGradient whole{d_out, saved.out, saved.lse,
                             (d_out.to(accumulate) * saved.out.to(accumulate)).sum(-1).permute({1, 2, 0}).contiguous()};
  KeyValueRing held(saved.k, saved.v, saved.last_key_value, plan.ranks > 1);
  at::Tensor dq = zeros_to_accumulate(q.sizes(), q);
  std::vector<std::int64_t> pair_sizes = held.k().sizes().vec();
  pair_sizes.insert(pair_sizes.begin(), 2);
  RingExchange sum(zeros_to_accumulate(pair_sizes, q), RingExchange::First::writable);

  for (const Step& step : plan.steps) {
    Work hop = start_messages(step, context.ring, held.exchange(), &sum);
    std::vector<std::pair<PositionRange, BlockGradient>> parts;
    for (const Attend& attend : step.attends) {
      const ResolvedAttend a(context, plan.rank, step.owner, attend);
      const OutputGradient output{rows_of(whole.d_out, a.q_rows), rows_of(whole.out, a.q_rows),
                                  whole.lse.narrow(2, a.q_rows.begin, a.q_rows.length()).contiguous(),
                                  whole.delta.narrow(2, a.q_rows.begin, a.q_rows.length())};
      BlockGradient part = context.block.backward(rows_of(q, a.q_rows), rows_of(held.k(), a.kv_rows),
                                                  rows_of(held.v(), a.kv_rows), output, a.call);
      rows_of(dq, a.q_rows).add_(part.dq);
      part.dq = at::Tensor();
      parts.emplace_back(a.kv_rows, std::move(part));
    }
    hop.wait();
    // The sum that others have begun for this block comes before our part is added: one order, whatever arrives first.
    if (receives(step, Payload::key_value_gradient)) sum.arrived();
    for (const auto& [rows, part] : parts) {
      rows_of(sum.current().select(0, 0), rows).add_(part.dk);
      rows_of(sum.current().select(0, 1), rows).add_(part.dv);
    }
    if (receives(step, Payload::key_value)) held.arrived();
  }
  const at::ScalarType type = q.scalar_type();
  return {dq.to(type), sum.current().select(0, 0).to(type), sum.current().select(0, 1).to(type)};
}

}  // namespace ringtron

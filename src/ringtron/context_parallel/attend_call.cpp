#include "ringtron/context_parallel/attend_call.h"

#include <ATen/ATen.h>

namespace ringtron::internal {

AttendCall::AttendCall(const PlanContext& context, int rank, const Attend& attend, std::int64_t heads, std::int64_t groups,
                       const HeadCut& cut)
    : context_(context),
      attend_(attend),
      heads_(part_of(attend.heads, heads, groups, cut)),
      is_part_(heads_.q.length() < heads),
      q_positions_(positions_of(context.layout, rank, attend.q)),
      kv_positions_(positions_of(context.layout, attend.owner, attend.kv)) {
  if (context.dropout == nullptr) return;
  dropout_ = *context.dropout;
  if (attend.sample != kEverySample) dropout_->sample_numbers = {dropout_->sample_numbers.at(attend.sample)};
}

at::Tensor AttendCall::of_sample(const at::Tensor& x, int dim) const {
  return attend_.sample == kEverySample ? x : x.narrow(dim, attend_.sample, 1);
}

at::Tensor AttendCall::rows_of_queries(const at::Tensor& q) const {
  return of_sample(q.narrow(0, attend_.q.begin, attend_.q.length()), 1);
}

// A number for each query: [b, n, rows of all queries]. Undefined if x is.
at::Tensor AttendCall::statistic(const at::Tensor& x) const {
  if (!x.defined()) return x;
  return of_heads(of_sample(x.narrow(2, attend_.q.begin, attend_.q.length()), 0), 1, heads_.q);
}

OutputGradient AttendCall::output(const OutputGradient& whole) const {
  return {queries(whole.d_out), queries(whole.out), statistic(whole.lse).contiguous(), statistic(whole.delta)};
}

at::Tensor AttendCall::keys(const at::Tensor& x) const {
  const at::Tensor rows = of_heads(of_sample(x, 1), 2, heads_.kv);
  return context_.key_head.defined() ? rows.index_select(2, context_.key_head) : rows;
}

at::Tensor AttendCall::key_gradient(const at::Tensor& gradient, std::int64_t heads) const {
  if (!context_.key_head.defined()) return gradient;
  const at::Tensor sum = at::zeros({gradient.size(0), gradient.size(1), heads, gradient.size(3)},
                                   gradient.options().dtype(accumulate_type(gradient.scalar_type())));
  return sum.index_add_(2, context_.key_head, gradient.to(sum.scalar_type()));
}

BlockCall AttendCall::block_call() const {
  return {context_.scale, attend_.band, dropout_ ? &*dropout_ : nullptr, q_positions_, kv_positions_, context_.varied_shapes, nullptr};
}

void AttendCall::count(std::int64_t cells) const {
  if (context_.counts != nullptr) context_.counts->cells += cells;
}

}  // namespace ringtron::internal

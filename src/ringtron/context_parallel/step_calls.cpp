#include "ringtron/context_parallel/step_calls.h"

#include <ATen/ATen.h>

#include "ringtron/base/check.h"

namespace ringtron::internal {

StepCalls::StepCalls(const ExchangePlan& plan, const PlanContext& context, AttentionPass pass, const at::Tensor& q,
                     const at::Tensor& k, const at::Tensor& v)
    : plan_(plan), block_(context.block), has_heads_(q.size(2) > 0) {
  const TileAttention* kernel = context.block.tiles();
  if (context.tiles == nullptr || kernel == nullptr || context.dropout != nullptr || !has_heads_) return;
  // Irregular heads come to the kernel as one key/value head for each query head.
  const auto heads = [&](const at::Tensor& x) {
    return context.key_head.defined() ? x.narrow(0, 0, 0).index_select(2, context.key_head) : x;
  };
  if (!kernel->supports(q, heads(k), heads(v), pass)) return;
  kernel_ = kernel;
  tiles_ = pass == AttentionPass::forward ? &context.tiles->forward : &context.tiles->backward;
  RT_CHECK_EQ(tiles_->size(), plan.steps.size(), "steps with batches of tiles");
}

std::vector<StepCall> StepCalls::of_step(std::size_t step) const {
  std::vector<StepCall> calls;
  if (!has_heads_) return calls;
  if (tiles_ != nullptr) {
    for (const auto& batch : (*tiles_)[step].batches) calls.push_back({batch->cover, batch});
  }
  for (const Attend& attend : tiles_ ? (*tiles_)[step].rest : plan_.steps[step].attends) calls.push_back({attend});
  return calls;
}

BlockResult StepCalls::forward(const StepCall& call, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const BlockCall& single) const {
  return call.batch ? kernel_->forward(q, k, v, call.batch, single.scale) : block_.forward(q, k, v, single);
}

BlockGradient StepCalls::backward(const StepCall& call, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                  const OutputGradient& output, const BlockCall& single) const {
  return call.batch ? kernel_->backward(q, k, v, output, call.batch, single.scale)
                    : block_.backward(q, k, v, output, single);
}

std::int64_t cells_of(const StepCall& call, const at::Tensor& q, const at::Tensor& k) {
  const std::int64_t samples = q.size(1), heads = q.size(2);
  if (call.batch) return call.batch->cells(samples) * heads;
  return call.attend.band.area(q.size(0), k.size(0)) * samples * heads;
}

}  // namespace ringtron::internal

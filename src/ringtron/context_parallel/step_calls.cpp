#include "ringtron/context_parallel/step_calls.h"

#include <ATen/ATen.h>

#include "ringtron/base/check.h"

namespace ringtron::internal {

StepCalls::StepCalls(const ExchangePlan& plan, const PlanContext& context, AttentionPass pass, const at::Tensor& q,
                     const at::Tensor& k, const at::Tensor& v)
    : plan_(plan), context_(context), block_(context.block), has_heads_(q.size(2) > 0) {
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

bool StepCalls::apart(const at::Tensor& q) const {
  constexpr double kLongEnough = 1e11;  // 0.2 ms of an H200, 0.7 with the backward; the host needs up to 1 ms for both
  std::size_t calls = 0;
  for (std::size_t step = 0; step < plan_.steps.size(); ++step) {
    calls += tiles_ ? (*tiles_)[step].batches.size() + (*tiles_)[step].rest.size() : plan_.steps[step].attends.size();
  }
  const bool fused = q.element_size() == 2 && context_.dropout == nullptr && block_.fuses_all();
  return calls > 1 && context_.operations >= kLongEnough && context_.group.exchanges_without_kernels() && fused &&
         context_.fault != CpFault::double_count;
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

// The kernel calls of each step of a plan: its attends one by one, or batches of their tiles where the kernel can take
// them and their shapes seldom come again.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "ringtron/context_parallel/block_attention.h"
#include "ringtron/context_parallel/plan_runner.h"
#include "ringtron/context_parallel/tile_attention.h"

namespace ringtron::internal {

struct StepCall {
  Attend attend;                             // a batch's cover, where there is a batch
  std::shared_ptr<const TileBatch> batch = {};  // null: the attend alone
};

class StepCalls {
 public:
  // For q, k and v as run_forward and run_backward get them. Plan and context must outlive this.
  StepCalls(const ExchangePlan& plan, const PlanContext& context, AttentionPass pass, const at::Tensor& q,
            const at::Tensor& k, const at::Tensor& v);

  // None where q has no heads: with more ranks than heads some have none under a2a.
  std::vector<StepCall> of_step(std::size_t step) const;

  // Whether the calls run beside each other: more than one; messages that do not wait for multiprocessors, which attention then
  // never leaves; fused kernels, since scores of two calls at once would take twice the memory; and so much to compute that the
  // device, not the host, is the bound: a stream more costs the host several calls.
  bool apart(const at::Tensor& q) const;

  // The call's kernel, on the rows of call.attend; `single` is what an attend alone needs.
  BlockResult forward(const StepCall& call, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const BlockCall& single) const;
  BlockGradient backward(const StepCall& call, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         const OutputGradient& output, const BlockCall& single) const;

 private:
  const ExchangePlan& plan_;
  const PlanContext& context_;
  const BlockAttention& block_;
  bool has_heads_;
  const TileAttention* kernel_ = nullptr;
  const std::vector<StepTiles>* tiles_ = nullptr;  // null: no batches
};

// Cells of the mask that the call attends to: those of all samples and heads of q.
std::int64_t cells_of(const StepCall& call, const at::Tensor& q, const at::Tensor& k);

}  // namespace ringtron::internal

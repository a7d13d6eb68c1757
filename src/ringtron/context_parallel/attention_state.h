// One attention call, forward and later backward: what autograd keeps of it besides tensors.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/custom_class.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "ringtron/context_parallel/attention_engine.h"
#include "ringtron/context_parallel/head_exchange.h"
#include "ringtron/context_parallel/kept_exchange.h"
#include "ringtron/context_parallel/plan_runner.h"

namespace ringtron::internal {

class AttentionState final : public torch::CustomClassHolder {
 public:
  // Collective when the plan is new, see AttentionEngine::plan. Adds what the forward has to do to the proof.
  AttentionState(std::shared_ptr<AttentionEngine> engine, AttentionCall call, const at::Tensor& q, const at::Tensor& k,
                 const at::Tensor& v);

  const TransportPlan& plan() const { return planned_->plan; }
  const AttentionCall& call() const { return call_; }
  std::int64_t heads() const { return key_heads_ * per_group_; }
  std::int64_t key_heads() const { return key_heads_; }
  // [part of the heads][member of the all-to-all].
  const std::vector<std::vector<HeadShare>>& shares() const { return shares_; }
  bool exchanges_heads() const { return plan().head_ranks > 1; }
  CpFault fault() const { return engine_->fault_of(call_.layer); }
  RunObserver* observer() const { return engine_->options().observer; }

  HeadExchange head_exchange() const;
  // The type in which blocks are computed, and keys and values travel between groups of ranks. bf16 on a GPU becomes fp16
  // where most rows merge results of several blocks: each would be rounded to bf16 otherwise. The speed is the same.
  // Magnitudes above 65504 become inf. Not for sequences above kLongestInHalf.
  at::ScalarType block_type() const;
  // For one part of the heads. `dropout` is where its dropout is put; it must outlive the context.
  PlanContext context(const at::Tensor& q, const std::vector<HeadShare>& shares,
                      std::optional<AttentionDropout>& dropout) const;
  // Around the forward, where the call has a KeptExchange.
  void begin_kept() const;
  void end_kept() const;
  // Whether the call takes what an earlier one kept.
  bool replays() const { return call_.kept && call_.kept->filled(); }
  // q, k and v of this part of the heads after the exchange. kept_heads() takes them away.
  void keep_heads(std::size_t part, const std::array<at::Tensor, 3>& heads) const;
  std::array<at::Tensor, 3> kept_heads(std::size_t part) const;
  // The plan of this part of the heads keeps the blocks that come, or takes those that were kept.
  void use_kept_blocks(std::size_t part, PlanContext& context) const;
  // Adds what the backward has to do to the proof.
  void expect_backward() const;

 private:
  ExchangeCounts& counts() const { return engine_->proof().layer(call_.layer).done; }
  void expect(std::int64_t bytes) const;
  at::Tensor sink_of(const HeadShare& mine) const;

  std::shared_ptr<AttentionEngine> engine_;
  AttentionCall call_;
  std::shared_ptr<const PlannedAttention> planned_;
  std::int64_t samples_, key_heads_, per_group_, value_size_;
  at::ScalarType type_;  // of the model
  at::TensorOptions sums_;  // device and accumulate type
  std::vector<std::vector<HeadShare>> shares_;
  TransportBytes bytes_;
};

}  // namespace ringtron::internal

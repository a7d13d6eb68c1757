// One attention call, forward and later backward, without autograd: what CpAttention runs, and what the operators of
// ops/ run, which keep their tensors themselves.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/context_parallel/run/run_schedule.h"
#include "ringtron/context_parallel/run/schedule_cache.h"

namespace ringtron {

class AttentionRun final : public torch::CustomClassHolder {
 public:
  // Of q, k and v only type, device and all dims but the rows count. Collective when the call is of a new kind, see
  // ScheduleCache::prepare.
  AttentionRun(std::shared_ptr<ScheduleCache> cache, AttentionCall call, const at::Tensor& q, const at::Tensor& k,
               const at::Tensor& v);

  // q, k, v: contiguous. What is saved may be q, k, v and the result.
  ForwardResult forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);
  // d_out: contiguous. May be called on another AttentionRun that was made in the same way.
  Gradients backward(const SavedForward& saved, const at::Tensor& d_out);

  const PreparedSchedules& prepared() const { return *prepared_; }

 private:
  LayerProof& proof() { return cache_->proof().layer(call_.layer); }
  // Runs a pass, and counts what had to be sent and computed in it and what was sent.
  template <class Pass>
  auto counted(std::int64_t bytes, Pass pass);
  PassContext context(const at::Tensor& x);  // `x`: for device and type
  at::Tensor sink_of(const HeadShare& mine) const;

  std::shared_ptr<ScheduleCache> cache_;
  AttentionCall call_;
  std::shared_ptr<const PreparedSchedules> prepared_;
  std::int64_t samples_, heads_, groups_;
  at::TensorOptions sums_;  // device and accumulate type
  TransportBytes bytes_;
  std::optional<AttentionDropout> dropout_;  // of this rank's share of the heads
};

}  // namespace ringtron

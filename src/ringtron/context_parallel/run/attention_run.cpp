#include "ringtron/context_parallel/run/attention_run.h"

#include <ATen/ATen.h>

#include <utility>

#include "ringtron/base/check.h"

namespace ringtron {

AttentionRun::AttentionRun(std::shared_ptr<ScheduleCache> cache, AttentionCall call, const at::Tensor& q,
                           const at::Tensor& k, const at::Tensor& v)
    : cache_(std::move(cache)),
      call_(std::move(call)),
      prepared_(cache_->prepare(call_, q, k, v)),
      samples_(q.size(1)),
      heads_(q.size(2)),
      groups_(k.size(2)),
      sums_(q.options().dtype(accumulate_type(q.scalar_type()))) {
  const AttentionShape shape{samples_,
                             heads_,
                             groups_,
                             q.size(3),
                             v.size(3),
                             static_cast<std::int64_t>(q.element_size()),
                             static_cast<std::int64_t>(sums_.dtype().itemsize())};
  bytes_ = bytes_of(prepared_->schedules, prepared_->layout, cache_->rank(), shape);
}

template <class Pass>
auto AttentionRun::counted(std::int64_t bytes, Pass pass) {
  proof().expected += {bytes, prepared_->area(samples_) * heads_};
  const std::int64_t before = cache_->sent();
  auto result = pass();
  proof().done.bytes += cache_->sent() - before;
  return result;
}

ForwardResult AttentionRun::forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const bool second = call_.saved_kv && call_.saved_kv->filled;
  return counted(second ? 0 : bytes_.forward,
                 [&] { return run_forward(prepared_->schedules.forward, context(q), q, k, v, call_.saved_kv.get()); });
}

Gradients AttentionRun::backward(const SavedForward& saved, const at::Tensor& d_out) {
  Gradients gradients = counted(
      bytes_.backward, [&] { return run_backward(prepared_->schedules.backward, context(d_out), saved, d_out); });
  gradients.d_sink =
      call_.softmax == SoftmaxKind::learnable ? gradients.d_sink.to(call_.sink.scalar_type()) : at::Tensor();
  return gradients;
}

PassContext AttentionRun::context(const at::Tensor& x) {
  const std::vector<HeadShare>& shares = prepared_->schedules.forward.heads;
  const HeadShare& mine = shares[static_cast<std::size_t>(cache_->rank()) % shares.size()];
  const bool drops = call_.dropout && call_.dropout->p > 0.0;
  if (drops) {
    dropout_ = call_.dropout;
    dropout_->head_offset += mine.q.begin;
  }
  PassContext context{cache_->messages(), prepared_->layout, cache_->block(x, drops)};
  context.scale = call_.scale;
  context.dropout = drops ? &*dropout_ : nullptr;
  context.sink = sink_of(mine);
  context.key_head = cache_->key_head(mine, heads_ / groups_, x.device());
  context.heads = heads_;
  context.groups = groups_;
  context.varied_shapes = prepared_->varied_shapes();
  context.cells = &proof().done.cells;
  context.observer = cache_->options().observer;
  return context;
}

at::Tensor AttentionRun::sink_of(const HeadShare& mine) const {
  switch (call_.softmax) {
    case SoftmaxKind::vanilla:
      return {};
    case SoftmaxKind::off_by_one:
      return at::zeros({mine.q.length()}, sums_);
    case SoftmaxKind::learnable:
      RT_CHECK_EQ(call_.sink.numel(), heads_, "learned softmax sinks, one per query head");
      return call_.sink.detach().narrow(0, mine.q.begin, mine.q.length()).to(sums_);
  }
  return {};
}

}  // namespace ringtron

#include "ringtron/context_parallel/attention_state.h"

#include <ATen/ATen.h>

#include <utility>

#include "ringtron/base/check.h"

namespace ringtron::internal {
namespace {

int head_parts_of(int option, const TransportPlan& plan, const at::Tensor& q) {
  if (plan.head_ranks == 1) return 1;
  if (option > 0) return option;
  return head_parts(plan, q.size(1), q.is_cuda() ? kHeadPartsOnGpu : 1);
}

}  // namespace

AttentionState::AttentionState(std::shared_ptr<AttentionEngine> engine, AttentionCall call, const at::Tensor& q,
                               const at::Tensor& k, const at::Tensor& v)
    : engine_(std::move(engine)),
      call_(std::move(call)),
      planned_(engine_->plan(call_, q)),
      samples_(q.size(1)),
      key_heads_(k.size(2)),
      per_group_(q.size(2) / k.size(2)),
      value_size_(v.size(3)),
      type_(q.scalar_type()),
      sums_(q.options().dtype(accumulate_type(q.scalar_type()))),
      shares_(split_shares(share_heads(q.size(2), k.size(2), planned_->plan.head_ranks), per_group_,
                           head_parts_of(engine_->options().head_groups, planned_->plan, q))) {
  AttentionShape shape{q.size(1), q.size(2), k.size(2), q.size(3), v.size(3)};
  shape.element_bytes = static_cast<std::int64_t>(q.element_size());
  shape.sum_bytes = static_cast<std::int64_t>(sums_.dtype().itemsize());
  shape.gradient_bytes = block_type() == at::kHalf ? 2 : shape.sum_bytes;
  bytes_ = bytes_of(planned_->plan, planned_->layout, shape, engine_->group().rank());
  expect(replays() ? 0 : bytes_.forward);
}

void AttentionState::begin_kept() const {
  if (!call_.kept) return;
  if (!replays()) return call_.kept->begin(shares_.size());
  if (fault() == CpFault::wrong_kept) call_.kept->spoil();
}

void AttentionState::end_kept() const {
  if (!call_.kept) return;
  if (replays()) {
    call_.kept->clear();
  } else {
    call_.kept->set_filled();
  }
}

void AttentionState::keep_heads(std::size_t part, const std::array<at::Tensor, 3>& heads) const {
  if (call_.kept) call_.kept->part(part).heads = heads;
}

std::array<at::Tensor, 3> AttentionState::kept_heads(std::size_t part) const {
  return std::exchange(call_.kept->part(part).heads, {});
}

void AttentionState::use_kept_blocks(std::size_t part, PlanContext& context) const {
  if (!call_.kept) return;
  context.kept = &call_.kept->part(part).blocks;
  context.replays = replays();
}

void AttentionState::expect(std::int64_t bytes) const {
  LayerProof& proof = engine_->proof().layer(call_.layer);
  proof.expected.bytes += bytes;
  proof.expected.cells += planned_->area(samples_) * heads();
}

void AttentionState::expect_backward() const { expect(bytes_.backward); }

at::ScalarType AttentionState::block_type() const {
  const bool drops = call_.dropout && call_.dropout->p > 0.0;  // their kernels give fp32 anyway
  const bool merges = plan().ranks > plan().head_ranks;
  // With documents and windows most rows see one block only: nothing to gain.
  const bool dense = planned_->masks.size() == 1 && planned_->masks.front().dense();
  switch (engine_->options().blocks) {
    case CpBlockType::model:
      return type_;
    case CpBlockType::fp16_on_gpu:
      if (!sums_.device().is_cuda()) return type_;
      break;
    case CpBlockType::fp16:
      break;
  }
  const bool short_enough = plan().inner.sequence_length() <= kLongestInHalf;
  return type_ == at::kBFloat16 && merges && dense && short_enough && !drops ? at::kHalf : type_;
}

HeadExchange AttentionState::head_exchange() const {
  return HeadExchange(engine_->group(), planned_->layout, plan().inner, plan().head_ranks, &counts(),
                      fault() == CpFault::skip_exchange);
}

PlanContext AttentionState::context(const at::Tensor& q, const std::vector<HeadShare>& shares,
                                    std::optional<AttentionDropout>& dropout) const {
  const HeadShare& mine = shares[static_cast<std::size_t>(engine_->group().rank() % plan().head_ranks)];
  const bool drops = call_.dropout && call_.dropout->p > 0.0;
  if (drops) {
    dropout = call_.dropout;
    dropout->head_offset += mine.q.begin;
  }
  PlanContext context{engine_->group(), plan().inner, engine_->block(q, drops)};
  context.scale = call_.scale;
  context.dropout = drops ? &*dropout : nullptr;
  context.sink = sink_of(mine);
  context.key_head = engine_->key_head(mine, per_group_, q.device());
  const double cells = static_cast<double>(planned_->area(samples_) * heads()) / plan().ranks;
  context.operations = 2.0 * cells * static_cast<double>(q.size(3) + value_size_) / static_cast<double>(shares_.size());
  context.heads_divide = !drops && !context.key_head.defined();  // dropout counts heads from the first
  context.fillers = engine_->options().fillers;
  context.varied_shapes = planned_->varied_shapes();
  context.type = type_;
  context.key_gradient_type = type_;
  context.tiles = planned_->tiles ? &*planned_->tiles : nullptr;
  context.counts = &counts();
  context.observer = observer();
  context.fault = fault();
  return context;
}

at::Tensor AttentionState::sink_of(const HeadShare& mine) const {
  switch (call_.softmax) {
    case SoftmaxKind::vanilla:
      return {};
    case SoftmaxKind::off_by_one:
      return at::zeros({mine.q.length()}, sums_);
    case SoftmaxKind::learnable:
      RT_CHECK_EQ(call_.sink.numel(), key_heads_ * per_group_, "learned softmax sinks, one per query head");
      return call_.sink.detach().narrow(0, mine.q.begin, mine.q.length()).to(sums_);
  }
  return {};
}

}  // namespace ringtron::internal

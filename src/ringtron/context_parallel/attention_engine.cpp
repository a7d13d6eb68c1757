#include "ringtron/context_parallel/attention_engine.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"

namespace ringtron::internal {
namespace {

// Layers times masks in use at once; those of past micro-batches make room.
constexpr std::size_t kPlansKept = 32;

std::vector<AttentionMask> masks_of(const SequenceLayout& layout, const AttentionCall& call, std::int64_t samples) {
  const std::int64_t length = layout.sequence_length();
  if (call.shape == nullptr || call.shape->document_starts.empty()) return {{length, call.causal, call.window}};
  RT_CHECK_EQ(static_cast<std::int64_t>(call.shape->document_starts.size()), samples, "samples with document boundaries");
  std::vector<AttentionMask> masks;
  for (const auto& starts : call.shape->document_starts) masks.emplace_back(length, call.causal, call.window, starts);
  if (std::all_of(masks.begin(), masks.end(), [&](const AttentionMask& mask) { return mask == masks.front(); })) {
    masks.resize(1, masks.front());
  }
  return masks;
}

}  // namespace

const BlockAttention& AttentionEngine::block(const at::Tensor& q, bool dropout) {
  const std::lock_guard lock(mutex_);
  auto& block = blocks_[{q.device().type(), q.scalar_type(), dropout}];
  if (!block) block = make_block_attention(q.device().type(), q.scalar_type(), dropout, options_.deterministic);
  return *block;
}

at::Tensor AttentionEngine::key_head(const HeadShare& share, std::int64_t heads_per_group, at::Device device) {
  if (is_regular(share, heads_per_group)) return {};
  const std::lock_guard lock(mutex_);
  at::Tensor& heads = key_heads_[{share.q.begin, share.q.end, heads_per_group}];
  if (!heads.defined() || heads.device() != device) {
    heads = at::tensor(key_head_of_query_head(share, heads_per_group), at::kLong).to(device);
  }
  return heads;
}

std::shared_ptr<const PlannedAttention> AttentionEngine::plan(const AttentionCall& call, const at::Tensor& q) {
  const auto known =
      std::find_if(plans_.begin(), plans_.end(), [&](const auto& planned) { return planned->is_for(call); });
  if (known != plans_.end()) return *known;
  const SequenceLayout& layout = call.shape ? call.shape->layout : layout_;
  RT_CHECK_EQ(layout.ranks(), group_.size(), "ranks of the sequence layout and of group " + group_.name());
  std::vector<AttentionMask> masks = masks_of(layout, call, q.size(1));
  const PlanRequest request{layout, masks};
  agree_on_plan(plan_hash(call.transport, options_.hierarchical_a, request), call, q.device());
  TransportPlan plan = make_transport_plan(call.transport, options_.hierarchical_a, request, group_.rank());
  std::int64_t area = 0;
  for (const AttentionMask& mask : masks) area += mask.area();
  if (plans_.size() >= kPlansKept) plans_.erase(plans_.begin());
  PlannedAttention planned{call.shape, call.causal, call.window, layout, std::move(masks), std::move(plan), area};
  if (q.is_cuda() && planned.varied_shapes()) {
    planned.tiles = PlanTiles{tile_batches(planned.plan.forward), tile_batches(planned.plan.backward)};
  }
  plans_.push_back(std::make_shared<const PlannedAttention>(std::move(planned)));
  return plans_.back();
}

// All ranks tell each other what they are about to do, before the first message that depends on it. On a GPU reading
// the answer stalls the device, so there only the first plan of a kind is compared.
void AttentionEngine::agree_on_plan(std::uint64_t hash, const AttentionCall& call, at::Device device) {
  if (group_.size() == 1) return;
  const bool first_of_kind = std::none_of(plans_.begin(), plans_.end(), [&](const auto& planned) {
    return planned->causal == call.causal && planned->window == call.window && planned->plan.transport == call.transport;
  });
  if (device.is_cuda() && !first_of_kind) return;
  const auto number = [&](std::uint64_t value) {
    return at::full({1}, static_cast<std::int64_t>(value), at::kLong).to(device);
  };
  std::vector<Send> sends;
  std::vector<Receive> receives;
  for (int peer = 0; peer < group_.size(); ++peer) {
    if (peer == group_.rank()) continue;
    sends.push_back({peer, number(hash)});
    receives.push_back({peer, number(0)});
  }
  group_.exchange(sends, receives).wait();
  for (const Receive& receive : receives) {
    const auto theirs = static_cast<std::uint64_t>(receive.tensor.item<std::int64_t>());
    if (theirs == hash) continue;
    throw CommError(fmt::format(
        "{} group: layer {}: expected all ranks to exchange by one plan, got {} on rank {} and {} on rank {} (hashes of "
        "transport, layout, mask and document boundaries). All ranks need the same flags and the same data.",
        group_.name(), call.layer, hex64(hash), group_.global_rank(group_.rank()), hex64(theirs),
        group_.global_rank(receive.peer)));
  }
}

}  // namespace ringtron::internal

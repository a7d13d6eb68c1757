#include "ringtron/context_parallel/run/schedule_cache.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"

namespace ringtron {
namespace {

// Layers times masks in use at once; those of past micro-batches make room.
constexpr std::size_t kCallsKept = 32;

std::vector<AttentionMask> masks_of(const SequenceLayout& layout, const AttentionCall& call, std::int64_t samples) {
  const std::int64_t length = layout.sequence_length();
  if (call.shape == nullptr || call.shape->document_starts.empty()) return {{length, call.causal, call.window}};
  RT_CHECK_EQ(static_cast<std::int64_t>(call.shape->document_starts.size()), samples,
              "samples with document boundaries");
  std::vector<AttentionMask> masks;
  for (const auto& starts : call.shape->document_starts) masks.emplace_back(length, call.causal, call.window, starts);
  if (std::all_of(masks.begin(), masks.end(), [&](const AttentionMask& mask) { return mask == masks.front(); })) {
    masks.resize(1, masks.front());
  }
  return masks;
}

}  // namespace

ScheduleCache::ScheduleCache(Communicator& group, SequenceLayout layout, const CpAttentionOptions& options)
    : group_(group),
      counted_(group),
      layout_(std::move(layout)),
      options_(options),
      proof_(options.proof ? options.proof : std::make_shared<ExchangeProof>()) {
  if (options.decorate) decorated_ = options.decorate(counted_);
}

const BlockAttention& ScheduleCache::block(const at::Tensor& q, bool dropout) {
  const std::lock_guard lock(mutex_);
  auto& block = blocks_[{q.device().type(), q.scalar_type(), dropout}];
  if (!block) block = make_block_attention(q.device().type(), q.scalar_type(), dropout, options_.deterministic);
  return *block;
}

at::Tensor ScheduleCache::key_head(const HeadShare& share, std::int64_t heads_per_group, at::Device device) {
  if (is_regular(share, heads_per_group)) return {};
  const std::lock_guard lock(mutex_);
  at::Tensor& heads = key_heads_[{share.q.begin, share.q.end, heads_per_group}];
  if (!heads.defined() || heads.device() != device) {
    heads = at::tensor(key_head_of_query_head(share, heads_per_group), at::kLong).to(device);
  }
  return heads;
}

LoweringFacts ScheduleCache::facts_of(const AttentionCall& call, const at::Tensor& q, const at::Tensor& k,
                                      const at::Tensor& v) {
  LoweringFacts facts{q.size(2), k.size(2), false, false};
  const bool documents = call.shape != nullptr && !call.shape->document_starts.empty();
  const bool drops = call.dropout && call.dropout->p > 0.0;
  if (!documents || drops) return facts;
  const VarlenAttention* varlen = block(q, false).varlen();
  if (varlen == nullptr) return facts;
  // Irregular heads come to the kernel as one key/value head for each query head.
  const int head_ranks = head_ranks_of(call.transport, group_.size(), options_.hierarchical_a);
  const HeadShare share =
      share_heads(facts.heads, facts.groups, head_ranks).at(static_cast<std::size_t>(group_.rank() % head_ranks));
  if (share.q.empty()) return facts;
  const std::int64_t groups = is_regular(share, facts.heads / facts.groups) ? share.kv.length() : share.q.length();
  const auto with_heads = [](const at::Tensor& x, std::int64_t heads) {
    return x.size(2) == heads ? x : x.new_empty({0, x.size(1), heads, x.size(3)});
  };
  const at::Tensor mine_q = with_heads(q, share.q.length()), mine_k = with_heads(k, groups),
                   mine_v = with_heads(v, groups);
  facts.varlen_forward = varlen->supports(mine_q, mine_k, mine_v, Pass::forward);
  facts.varlen_backward = varlen->supports(mine_q, mine_k, mine_v, Pass::backward);
  return facts;
}

std::shared_ptr<const PreparedSchedules> ScheduleCache::prepare(const AttentionCall& call, const at::Tensor& q,
                                                                const at::Tensor& k, const at::Tensor& v) {
  const LoweringFacts facts = facts_of(call, q, k, v);
  const auto known =
      std::find_if(calls_.begin(), calls_.end(), [&](const auto& prepared) { return prepared->is_for(call, facts); });
  if (known != calls_.end()) return *known;
  const SequenceLayout& layout = call.shape ? call.shape->layout : layout_;
  RT_CHECK_EQ(layout.ranks(), group_.size(), "ranks of the sequence layout and of group " + group_.name());
  std::vector<AttentionMask> masks = masks_of(layout, call, q.size(1));
  const PlanRequest request{layout, masks};
  agree_on_plan(plan_hash(call.transport, options_.hierarchical_a, request), call, q.device());
  RankSchedules schedules =
      lower(make_transport_plan(call.transport, options_.hierarchical_a, request, group_.rank()), facts);
  if (options_.edit) options_.edit(schedules);
  std::int64_t area = 0;
  for (const AttentionMask& mask : masks) area += mask.area();
  if (calls_.size() >= kCallsKept) calls_.erase(calls_.begin());
  calls_.push_back(std::make_shared<const PreparedSchedules>(
      PreparedSchedules{call.shape, call.causal, call.window, call.transport, facts, layout, std::move(masks),
                        std::move(schedules), area}));
  return calls_.back();
}

// All ranks tell each other what they are about to do, before the first message that depends on it. On a GPU reading
// the answer stalls the device, so there only the first plan of a kind is compared.
void ScheduleCache::agree_on_plan(std::uint64_t hash, const AttentionCall& call, at::Device device) {
  if (group_.size() == 1) return;
  const bool first_of_kind = std::none_of(calls_.begin(), calls_.end(), [&](const auto& prepared) {
    return prepared->causal == call.causal && prepared->window == call.window && prepared->transport == call.transport;
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

}  // namespace ringtron

#include "ringtron/context_parallel/half_gradients.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "ringtron/base/check.h"

namespace ringtron::internal {
namespace {

Attend of_all_heads(Attend attend) {
  attend.heads = HeadPart::all;
  return attend;
}

BlockGradient narrowed(const BlockGradient& whole, const HeadRanges& heads) {
  return {of_heads(whole.dq, 2, heads.q), of_heads(whole.dk, 2, heads.kv), of_heads(whole.dv, 2, heads.kv)};
}

// Writes what is not there already. The kernel may have chosen another type than its inputs'.
void put_into(at::Tensor& whole, const PositionRange& heads, const at::Tensor& half) {
  const at::Tensor place = of_heads(whole, 2, heads);
  if (half.is_alias_of(whole) && half.data_ptr() == place.data_ptr()) return;
  if (half.scalar_type() == whole.scalar_type()) {
    place.copy_(half);
    return;
  }
  RT_CHECK_EQ(heads.begin, 0, "first head of a half whose type differs from that of the first half");
  whole = at::empty(whole.sizes(), half.options());
  of_heads(whole, 2, heads).copy_(half);
}

}  // namespace

HeadRanges heads_of(HeadPart part, std::int64_t heads, std::int64_t groups, bool divides) {
  const std::int64_t middle = divides ? (groups + 1) / 2 : groups;
  const std::int64_t q_middle = middle < groups ? middle * (heads / groups) : heads;
  switch (part) {
    case HeadPart::all:
      break;
    case HeadPart::first:
      return {{0, q_middle}, {0, middle}};
    case HeadPart::second:
      return {{q_middle, heads}, {middle, groups}};
  }
  return {{0, heads}, {0, groups}};
}

at::Tensor of_heads(const at::Tensor& x, int dim, const PositionRange& heads) {
  return x.defined() ? x.narrow(dim, heads.begin, heads.length()) : x;
}

BlockGradient& HalfGradients::whole(const Attend& attend) {
  const Attend all = of_all_heads(attend);
  const auto found = std::find_if(wholes_.begin(), wholes_.end(), [&](const auto& entry) { return entry.first == all; });
  return found != wholes_.end() ? found->second : wholes_.emplace_back(all, BlockGradient{}).second;
}

BlockGradient HalfGradients::room(const Attend& attend, const HeadRanges& heads, const at::Tensor& q, const at::Tensor& k,
                                  const at::Tensor& v) {
  BlockGradient& all = whole(attend);
  if (!all.dq.defined()) all = {at::empty(q.sizes(), q.options()), at::empty(k.sizes(), k.options()), at::empty(v.sizes(), v.options())};
  return narrowed(all, heads);
}

std::optional<BlockGradient> HalfGradients::put(const Attend& attend, const HeadRanges& heads, const BlockGradient& half) {
  BlockGradient& all = whole(attend);
  put_into(all.dq, heads.q, half.dq);
  put_into(all.dk, heads.kv, half.dk);
  put_into(all.dv, heads.kv, half.dv);
  if (heads.q.end < all.dq.size(2)) return {};
  std::optional<BlockGradient> complete = std::move(all);
  std::erase_if(wholes_, [&](const auto& entry) { return entry.first == of_all_heads(attend); });
  return complete;
}

}  // namespace ringtron::internal

#include "ringtron/context_parallel/half_gradients.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "ringtron/base/check.h"

namespace ringtron::internal {
namespace {

BlockGradient narrowed(const BlockGradient& whole, const HeadShare& heads) {
  return {of_heads(whole.dq, 2, heads.q), of_heads(whole.dk, 2, heads.kv), of_heads(whole.dv, 2, heads.kv)};
}

// Writes what is not there already. The kernel may have chosen another type than its inputs', for both halves alike.
void put_into(at::Tensor& whole, const PositionRange& heads, const at::Tensor& half, bool first) {
  const at::Tensor place = of_heads(whole, 2, heads);
  if (half.is_alias_of(whole) && half.data_ptr() == place.data_ptr()) return;
  if (half.scalar_type() == whole.scalar_type()) {
    place.copy_(half);
    return;
  }
  RT_CHECK(first, "a kernel gave heads {}-{} in another type than the other half", heads.begin, heads.end);
  whole = at::empty(whole.sizes(), half.options());
  of_heads(whole, 2, heads).copy_(half);
}

}  // namespace

at::Tensor of_heads(const at::Tensor& x, int dim, const PositionRange& heads) {
  return x.defined() ? x.narrow(dim, heads.begin, heads.length()) : x;
}

HalfGradients::Whole& HalfGradients::whole(const Attend& attend) {
  const Attend all = of_all_heads(attend);
  const auto found = std::find_if(waiting_.begin(), waiting_.end(), [&](const Whole& entry) { return entry.attend == all; });
  return found != waiting_.end() ? *found : waiting_.emplace_back(Whole{all, {}, {}});
}

BlockGradient HalfGradients::room(const Attend& attend, const HeadShare& heads, const at::Tensor& q, const at::Tensor& k,
                                  const at::Tensor& v) {
  BlockGradient& all = whole(attend).gradient;
  const auto like = [](const at::Tensor& x) { return at::empty(x.sizes(), x.options()); };
  if (!all.dq.defined()) all = {like(q), like(k), like(v)};
  return narrowed(all, heads);
}

std::optional<BlockGradient> HalfGradients::put(const Attend& attend, const HeadShare& heads, const BlockGradient& half) {
  Whole& entry = whole(attend);
  const bool first = !entry.came;
  put_into(entry.gradient.dq, heads.q, half.dq, first);
  put_into(entry.gradient.dk, heads.kv, half.dk, first);
  put_into(entry.gradient.dv, heads.kv, half.dv, first);
  if (first) {
    entry.came = heads.q;
    return {};
  }
  RT_CHECK(intersection(*entry.came, heads.q).empty() && entry.came->length() + heads.q.length() == entry.gradient.dq.size(2),
           "query heads {}-{} and {}-{} are not two halves of {}", entry.came->begin, entry.came->end, heads.q.begin, heads.q.end,
           entry.gradient.dq.size(2));
  BlockGradient complete = std::move(entry.gradient);
  std::erase_if(waiting_, [&](const Whole& other) { return other.attend == of_all_heads(attend); });
  return complete;
}

}  // namespace ringtron::internal

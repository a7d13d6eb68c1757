#include "ringtron/context_parallel/part_gradients.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "ringtron/base/check.h"

namespace ringtron::internal {
namespace {

BlockGradient narrowed(const BlockGradient& whole, const HeadShare& heads) {
  return {of_heads(whole.dq, 2, heads.q), of_heads(whole.dk, 2, heads.kv), of_heads(whole.dv, 2, heads.kv)};
}

// Writes what is not there already. The kernel may have chosen another type than its inputs', for all parts alike.
void put_into(at::Tensor& whole, const PositionRange& heads, const at::Tensor& part, bool first) {
  const at::Tensor place = of_heads(whole, 2, heads);
  if (part.is_alias_of(whole) && part.data_ptr() == place.data_ptr()) return;
  if (part.scalar_type() == whole.scalar_type()) {
    place.copy_(part);
    return;
  }
  RT_CHECK(first, "a kernel gave heads {}-{} in another type than the parts before", heads.begin, heads.end);
  whole = at::empty(whole.sizes(), part.options());
  of_heads(whole, 2, heads).copy_(part);
}

}  // namespace

at::Tensor of_heads(const at::Tensor& x, int dim, const PositionRange& heads) {
  return x.defined() ? x.narrow(dim, heads.begin, heads.length()) : x;
}

PartGradients::Whole& PartGradients::whole(const Attend& attend) {
  const Attend all = of_all_heads(attend);
  const auto found = std::find_if(waiting_.begin(), waiting_.end(), [&](const Whole& entry) { return entry.attend == all; });
  return found != waiting_.end() ? *found : waiting_.emplace_back(Whole{all, {}, {}});
}

BlockGradient PartGradients::room(const Attend& attend, const HeadShare& heads, const at::Tensor& q, const at::Tensor& k,
                                  const at::Tensor& v) {
  BlockGradient& all = whole(attend).gradient;
  const auto like = [](const at::Tensor& x) { return at::empty(x.sizes(), x.options()); };
  if (!all.dq.defined()) all = {like(q), like(k), like(v)};
  return narrowed(all, heads);
}

std::optional<BlockGradient> PartGradients::put(const Attend& attend, const HeadShare& heads, const BlockGradient& part) {
  Whole& entry = whole(attend);
  const bool first = entry.came.empty();
  std::int64_t count = heads.q.length();
  for (const PositionRange& other : entry.came) {
    RT_CHECK(intersection(other, heads.q).empty(), "query heads {}-{} have come before, as heads {}-{}", heads.q.begin, heads.q.end,
             other.begin, other.end);
    count += other.length();
  }
  put_into(entry.gradient.dq, heads.q, part.dq, first);
  put_into(entry.gradient.dk, heads.kv, part.dk, first);
  put_into(entry.gradient.dv, heads.kv, part.dv, first);
  entry.came.push_back(heads.q);
  if (count < entry.gradient.dq.size(2)) return {};
  BlockGradient complete = std::move(entry.gradient);
  std::erase_if(waiting_, [&](const Whole& other) { return other.attend == of_all_heads(attend); });
  return complete;
}

}  // namespace ringtron::internal

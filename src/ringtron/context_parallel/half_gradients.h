// Gradients of attends that are computed for one half of the heads at a time: where the halves are put together.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <utility>
#include <vector>

#include "ringtron/context_parallel/block_attention.h"
#include "ringtron/context_parallel/plan/exchange_plan.h"

namespace ringtron::internal {

// Of the query heads and of the key/value heads.
struct HeadRanges {
  PositionRange q, kv;
};

// The heads of a part. `divides`: whether the kernel's heads may be cut; if not, the first half has them all.
HeadRanges heads_of(HeadPart part, std::int64_t heads, std::int64_t groups, bool divides);

// x of these heads: a view. `dim`: that of the heads.
at::Tensor of_heads(const at::Tensor& x, int dim, const PositionRange& heads);

class HalfGradients {
 public:
  // Room for the gradients of a half, as views of tensors with all heads, for BlockCall::into. q, k and v: those of all
  // heads, for shapes and type.
  BlockGradient room(const Attend& attend, const HeadRanges& heads, const at::Tensor& q, const at::Tensor& k,
                     const at::Tensor& v);
  // Takes what the kernel gave for that half. With it the last heads have come: the gradients of all; otherwise nothing.
  std::optional<BlockGradient> put(const Attend& attend, const HeadRanges& heads, const BlockGradient& half);

 private:
  BlockGradient& whole(const Attend& attend);

  std::vector<std::pair<Attend, BlockGradient>> wholes_;  // attends of all heads whose second half is still to come
};

}  // namespace ringtron::internal

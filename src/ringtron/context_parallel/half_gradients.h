// Gradients of attends that are computed for one half of the heads at a time: where the halves are put together.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "ringtron/context_parallel/block_attention.h"
#include "ringtron/context_parallel/plan/exchange_plan.h"
#include "ringtron/context_parallel/plan/head_shares.h"

namespace ringtron::internal {

// x of these heads: a view. `dim`: that of the heads. Undefined if x is.
at::Tensor of_heads(const at::Tensor& x, int dim, const PositionRange& heads);

class HalfGradients {
 public:
  // Room for the gradients of a half, as views of tensors with all heads, for BlockCall::into. q, k and v: those of all
  // heads, for shapes and type.
  BlockGradient room(const Attend& attend, const HeadShare& heads, const at::Tensor& q, const at::Tensor& k,
                     const at::Tensor& v);
  // Takes what the kernel gave for that half. Of the first to come nothing yet; of the other: the gradients of all heads.
  std::optional<BlockGradient> put(const Attend& attend, const HeadShare& heads, const BlockGradient& half);

  // Whether no other half is still to come.
  bool empty() const { return waiting_.empty(); }

 private:
  struct Whole {
    Attend attend;  // of all heads
    BlockGradient gradient;
    std::optional<PositionRange> came;  // query heads of the half that has come
  };
  Whole& whole(const Attend& attend);

  std::vector<Whole> waiting_;
};

}  // namespace ringtron::internal

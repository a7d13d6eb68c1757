// Gradients of attends that are computed for a part of the heads at a time: where the parts are put together.
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

class PartGradients {
 public:
  // Room for the gradients of a part, as views of tensors with all heads, for BlockCall::into. q, k and v: those of all
  // heads, for shapes and type.
  BlockGradient room(const Attend& attend, const HeadShare& heads, const at::Tensor& q, const at::Tensor& k,
                     const at::Tensor& v);
  // Takes what the kernel gave for that part. Of the last to come: the gradients of all heads; of the others nothing.
  std::optional<BlockGradient> put(const Attend& attend, const HeadShare& heads, const BlockGradient& part);

  // Whether no other part is still to come.
  bool empty() const { return waiting_.empty(); }

 private:
  struct Whole {
    Attend attend;  // of all heads
    BlockGradient gradient;
    std::vector<PositionRange> came;  // query heads
  };
  Whole& whole(const Attend& attend);

  std::vector<Whole> waiting_;
};

}  // namespace ringtron::internal

// Runs the exchange plan of one rank on tensors, forward and backward.
//
// All ranks of `ring` run the same pass of the plans of the same layout at the same time. Messages travel while the
// block that has already come is attended to. Holds at most two key/value blocks and, backward, two gradient sums, beside
// what autograd saved. Throws CommError when a peer fails; the ring is then of no further use.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/comm/communicator.h"
#include "ringtron/context_parallel/block_attention.h"
#include "ringtron/context_parallel/exchange_plan.h"

namespace ringtron {

// What both passes need; references must outlive them. Shapes as in block_attention.h, rows = layout.local_length().
struct PlanContext {
  Communicator& ring;
  const SequenceLayout& layout;
  const BlockAttention& block;
  double scale;
  const AttentionDropout* dropout;  // null: none
};

struct ForwardState {
  at::Tensor out;  // as q
  at::Tensor lse;  // accumulate type
  // The key/value block held at the end, where the backward begins: [2, s, b, g, d], K then V. Of a ring of one it is
  // undefined, and k and v themselves are the block.
  at::Tensor last_key_value;
};

ForwardState run_forward(const ExchangePlan& plan, const PlanContext& context, const at::Tensor& q, const at::Tensor& k,
                         const at::Tensor& v);

// What the forward used and made. k and v are read only where last_key_value is undefined.
struct SavedForward {
  at::Tensor q, k, v, out, lse, last_key_value;
};

// Gradients of q, k, v in their type; summed in the accumulate type, on the wire too.
BlockGradient run_backward(const ExchangePlan& plan, const PlanContext& context, const SavedForward& saved,
                           const at::Tensor& d_out);

}  // namespace ringtron

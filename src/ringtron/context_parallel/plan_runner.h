// Runs the exchange plan of one rank on tensors, forward and backward.
//
// All ranks of `group` run the same pass of the plans of the same request at the same time. Messages travel while
// what is held is attended to. A ring holds two blocks beside its own and, backward, three gradient sums (one leaves, one
// arrives, one is added up), whatever the number of ranks; where attends run beside each other also what the last of them gave
// (kMostWaiting) and what they still read. Throws CommError when a peer fails; the group is then of no further use.
#pragma once

#include <ATen/core/Tensor.h>

#include <string_view>

#include "ringtron/comm/communicator.h"
#include "ringtron/context_parallel/block_attention.h"
#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/context_parallel/kept_exchange.h"
#include "ringtron/context_parallel/plan/exchange_plan.h"
#include "ringtron/context_parallel/plan/tile_batches.h"

namespace ringtron {

// What both passes need; references must outlive them. Letters as in block_attention.h, rows of q, k and v those of
// plan.rank in `layout`; the heads are those that this rank attends with.
struct PlanContext {
  Communicator& group;
  const SequenceLayout& layout;  // the plan's: TransportPlan::inner
  const BlockAttention& block;
  double scale = 1.0;
  const AttentionDropout* dropout = nullptr;  // null: none
  at::Tensor sink = {};                       // [n], accumulate type: one more term of the softmax; undefined: none
  // [n] int64: key/value head of each query head where these are no equal groups; undefined where they are.
  at::Tensor key_head = {};
  double operations = 0;               // of a forward of one rank, in the mean
  bool heads_divide = true;            // into parts
  CpFillers fillers = CpFillers::beside_each_other;
  bool varied_shapes = false;          // BlockCall::varied_shapes
  const PlanTiles* tiles = nullptr;    // of the plan, for kernels that take batches of tiles; null: attends one by one
  // Types of out and dq, and of dk and dv: the model's. q, k and v may come in another (AttentionState::block_type).
  at::ScalarType type = at::ScalarType::Undefined;
  at::ScalarType key_gradient_type = at::ScalarType::Undefined;
  ExchangeCounts* counts = nullptr;    // null: not counted
  RunObserver* observer = nullptr;     // null: nobody
  CpFault fault = CpFault::none;
  // Where a forward puts the blocks that come, or with `replays` takes them from instead of sending messages; null: neither.
  KeptBlocks* kept = nullptr;
  bool replays = false;
};

struct ForwardState {
  at::Tensor out;  // [s, b, n, d_v], PlanContext::type
  at::Tensor lse;  // [b, n, s], accumulate type, sink included
  at::Tensor last_k, last_v;  // the block held at the end, if the backward begins with it; else undefined
};

ForwardState run_forward(const ExchangePlan& plan, bool keeps_last_block, const PlanContext& context,
                         const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

// What the forward used and made. With keeps_last_block, k and v are the last block, otherwise this rank's own.
struct SavedForward {
  at::Tensor q, k, v, out, lse;
};

struct PlanGradient {
  at::Tensor dq;      // PlanContext::type
  at::Tensor dk, dv;  // PlanContext::key_gradient_type: the sums over all ranks, for this rank's rows
  at::Tensor d_sink;  // [n], accumulate type: this rank's rows' share; undefined without a sink
};

PlanGradient run_backward(const ExchangePlan& plan, bool keeps_last_block, const PlanContext& context,
                          const SavedForward& saved, const at::Tensor& d_out);

}  // namespace ringtron

// Runs the schedule of one rank on tensors: operation by operation, as it stands.
//
// All ranks of the group run the same pass of the schedules of one request at the same time. Everything is put on the
// current stream of the caller; the communicator has streams of its own, and Wait makes the current one wait. Throws
// CommError when a peer fails; the group is then of no further use. Letters as in block_attention.h.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/comm/communicator.h"
#include "ringtron/context_parallel/block/block_attention.h"
#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/context_parallel/run/saved_kv.h"
#include "ringtron/context_parallel/schedule/schedule.h"

namespace ringtron {

// What a pass needs besides its schedule; references must outlive it.
struct PassContext {
  Communicator& group;
  const SequenceLayout& layout;  // of the whole group
  const BlockAttention& block;
  double scale = 1.0;
  const AttentionDropout* dropout = nullptr;  // of this rank's share of the heads; null: none
  // Of the heads of this rank's share. Accumulate type: one more term of the softmax; undefined: none.
  at::Tensor sink = {};
  // int64: the key/value head of each where these are no equal groups; undefined where they are.
  at::Tensor key_head = {};
  std::int64_t heads = 0, groups = 0;  // of all shares: query and key/value heads
  bool varied_shapes = false;          // BlockCall::varied_shapes
  std::int64_t* cells = nullptr;       // adds up the cells that were computed, times heads; null: not counted
  RunObserver* observer = nullptr;     // null: nobody
};

// What the backward wants of the forward. k and v: the rows of Schedule::saved.
struct SavedForward {
  at::Tensor q, k, v, out, lse;
};

struct ForwardResult {
  at::Tensor out;  // [s, b, n, d_v], contiguous, of the type of q
  SavedForward saved;
};

// `saved_kv`: filled with what messages bring, or, if it is filled, in place of messages (and then emptied); null:
// neither.
ForwardResult run_forward(const Schedule& schedule, const PassContext& context, const at::Tensor& q,
                          const at::Tensor& k, const at::Tensor& v, SavedKv* saved_kv);

struct Gradients {
  at::Tensor dq, dk, dv;  // of this rank's rows, of the type of d_out
  at::Tensor d_sink;      // [n], accumulate type: this rank's rows' share; undefined without a sink
};

Gradients run_backward(const Schedule& schedule, const PassContext& context, const SavedForward& saved,
                       const at::Tensor& d_out);

}  // namespace ringtron

// Attention over a sequence that many ranks share. The front door of this folder.
//
// Each rank of the context-parallel group holds the chunks of the sequence that a SequenceLayout gives it;
// all layers but attention work on these alone. Here keys and values go round the ring of ranks, each rank
// attends with its queries to the blocks as they pass, and the parts are merged by their log-sum-exp. The
// result is that of one process that holds the whole sequence. How a block travels is data (exchange_plan.h),
// proven by plan_check.h and run by plan_runner.h. A group of one rank runs the same code without messages.
// README.md has the picture.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>

#include "ringtron/comm/communicator.h"
#include "ringtron/context_parallel/attention_dropout.h"
#include "ringtron/context_parallel/sequence_layout.h"

namespace ringtron {

struct AttentionCall {
  double scale = 1.0;  // of the scores: usually 1 / sqrt(head size)
  bool causal = true;  // position i sees positions 0..i of its sequence
  std::optional<AttentionDropout> dropout = std::nullopt;
};

class CpAttention {
 public:
  virtual ~CpAttention() = default;

  // q: [s_local, b, n, d]; k, v: [s_local, b, g, d], n a multiple of g; rows in the layout's storage order.
  // Returns [s_local, b, n, d], contiguous, in q's type, with autograd. fp64, fp32, bf16; sums in fp32 (fp64
  // for fp64). All ranks of the group call forward, and later backward, for the same layers in the same order
  // with the same shapes. Saves q, out, log-sum-exp and one key/value block for the backward, whatever the
  // number of ranks. Throws CommError, naming the group, when another rank dies, hangs or disagrees.
  virtual at::Tensor forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const AttentionCall& call) = 0;
};

// The ring (p2p). `ring` must outlive the result and every backward pass through it. Not thread-safe: one
// call at a time. layout.ranks() must be ring.size().
// `deterministic`: the same bits in every run on a GPU too, at some cost in memory and speed (--deterministic-mode); on a
// CPU it is so anyway.
std::unique_ptr<CpAttention> make_cp_attention(Communicator& ring, SequenceLayout layout, bool deterministic = false);

}  // namespace ringtron

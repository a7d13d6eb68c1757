// Attention over a sequence that many ranks share. The front door of this folder.
//
// Each rank of the context-parallel group holds the positions that a SequenceLayout gives it; all layers but attention
// work on these alone. How keys and values reach the other ranks is a transport (transport.h): ring, gather,
// all-to-all, or all-to-all within a ring. The result is that of one process that holds the whole sequence, for every
// transport, mask, layout and length. What travels and runs when is data (schedule.h), proven by schedule_check.h and
// run by run_schedule.h. A group of one rank runs the same code without messages. README.md has the pictures.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "ringtron/choices/choices.h"
#include "ringtron/comm/communicator.h"
#include "ringtron/context_parallel/block/attention_dropout.h"
#include "ringtron/context_parallel/plan/attention_mask.h"
#include "ringtron/context_parallel/plan/exchange_proof.h"
#include "ringtron/context_parallel/plan/sequence_layout.h"
#include "ringtron/context_parallel/plan/transport.h"

namespace ringtron {

struct SavedKv;        // run/saved_kv.h
struct RankSchedules;  // schedule/schedule.h

// What the samples of one micro-batch look like; shared by all its layers, the same on all ranks.
struct SequenceShape {
  SequenceLayout layout;
  // Where documents begin in each sample, see AttentionMask. Empty: every sample is one document.
  std::vector<std::vector<std::int64_t>> document_starts = {};
};

struct AttentionCall {
  double scale = 1.0;  // of the scores: usually 1 / sqrt(head size)
  bool causal = true;  // position i sees positions 0..i of its document
  AttentionWindow window = {};
  CpTransport transport = CpTransport::p2p;
  SoftmaxKind softmax = SoftmaxKind::vanilla;
  at::Tensor sink = {};  // learnable: [n], this tensor rank's query heads; gets a gradient, this rank's share of it
  std::optional<AttentionDropout> dropout = std::nullopt;
  std::shared_ptr<const SequenceShape> shape = nullptr;  // null: the layout of make_cp_attention, one document each
  int layer = 0;                                         // for messages and the proof of exchange
  // For calls that are made twice: the first saves what it receives, the second sends nothing. Null: nothing is saved.
  std::shared_ptr<SavedKv> saved_kv = nullptr;
};

class CpAttention {
 public:
  virtual ~CpAttention() = default;

  // q: [s_local, b, n, d]; k: [s_local, b, g, d]; v: [s_local, b, g, d_v]; n a multiple of g; rows in the layout's
  // order, possibly none. Returns [s_local, b, n, d_v], contiguous, in q's type, with autograd. fp64, fp32, bf16; sums
  // in fp32 (fp64 for fp64). All ranks of the group call forward, and later backward, for the same layers in the same
  // order with the same call. Throws CommError, naming the group, when another rank dies, hangs or has another plan
  // (found before its first message; on a GPU only for the first plan of a kind, since reading the answer stalls it, so
  // document boundaries that differ later show as a CommError or a time-out).
  virtual at::Tensor forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const AttentionCall& call) = 0;

  // Counts of what the calls since the last reset did, by layer; see exchange_proof.h.
  virtual ExchangeProof& proof() = 0;
};

// Told what a pass does, as it does it; for profiles. Calls nest properly; from the thread that runs the pass.
class RunObserver {
 public:
  virtual ~RunObserver() = default;
  // `what`: "to heads", "to sequence", "start messages", "attend", "wait", "merge". `step` of the plan, or -1.
  virtual void begin(std::string_view what, int step) = 0;
  virtual void end() = 0;
};

struct CpAttentionOptions {
  // The same bits in every run on a GPU too, at some cost in memory and speed (--deterministic-mode); on a CPU it is so
  // anyway.
  bool deterministic = false;
  int hierarchical_a = 1;  // ranks that share heads under a2a+p2p: the first of --hierarchical-context-parallel-sizes
  std::shared_ptr<ExchangeProof> proof = nullptr;  // where calls are counted; null: one of its own
  RunObserver* observer = nullptr;                 // must outlive the CpAttention; null: nobody
  // For tests and tools that make something wrong on purpose, to see that it is found. `edit` changes every schedule
  // before it runs; `decorate` wraps the group through which messages go. Empty: nothing.
  std::function<void(RankSchedules&)> edit = {};
  std::function<std::unique_ptr<Communicator>(Communicator&)> decorate = {};
};

// `group` must outlive the result and every backward pass through it. Not thread-safe: one call at a time.
// layout.ranks() must be group.size().
std::unique_ptr<CpAttention> make_cp_attention(Communicator& group, SequenceLayout layout,
                                               const CpAttentionOptions& options = {});

}  // namespace ringtron

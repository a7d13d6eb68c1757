// Attention over a sequence that many ranks share. The front door of this folder.
//
// Each rank of the context-parallel group holds the positions that a SequenceLayout gives it; all layers but
// attention work on these alone. How keys and values reach the other ranks is a transport (transport.h): ring,
// gather, all-to-all, or all-to-all within a ring. The result is that of one process that holds the whole sequence,
// for every transport, mask, layout and length. What travels when is data (exchange_plan.h), proven by plan_check.h
// and run by plan_runner.h. A group of one rank runs the same code without messages. README.md has the pictures.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "ringtron/comm/communicator.h"
#include "ringtron/context_parallel/attention_dropout.h"
#include "ringtron/context_parallel/plan/attention_mask.h"
#include "ringtron/context_parallel/plan/exchange_proof.h"
#include "ringtron/context_parallel/plan/sequence_layout.h"
#include "ringtron/context_parallel/plan/transport.h"

namespace ringtron {

class KeptExchange;  // kept_exchange.h

// What the samples of one micro-batch look like; shared by all its layers, the same on all ranks.
struct SequenceShape {
  SequenceLayout layout;
  // Where documents begin in each sample, see AttentionMask. Empty: every sample is one document.
  std::vector<std::vector<std::int64_t>> document_starts = {};
};

// One more term in the softmax's denominator: exp(0), or exp(sink) with a learned sink per head.
enum class SoftmaxKind { vanilla, off_by_one, learnable };

struct AttentionCall {
  double scale = 1.0;  // of the scores: usually 1 / sqrt(head size)
  bool causal = true;  // position i sees positions 0..i of its document
  AttentionWindow window = {};
  CpTransport transport = CpTransport::p2p;
  SoftmaxKind softmax = SoftmaxKind::vanilla;
  at::Tensor sink = {};  // learnable: [n], this tensor rank's query heads; gets a gradient, this rank's share of it
  std::optional<AttentionDropout> dropout = std::nullopt;
  std::shared_ptr<const SequenceShape> shape = nullptr;  // null: the layout of make_cp_attention, one document each
  int layer = 0;  // for messages and the proof of exchange
  // For calls that are made twice: the first keeps what it receives, the second sends nothing. Null: nothing is kept.
  std::shared_ptr<KeptExchange> kept = nullptr;
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

// Faults on purpose, to see that proofs find them (verify_cp --inject).
enum class CpFault {
  none,
  swap_chunks,    // each rank's first and last row of keys change places
  drop_merge,     // the last part of each result is not merged
  skip_exchange,  // no message is sent; buffers hold this rank's own rows instead
  double_count,   // the first block is attended to twice
  wrong_kept,     // first and last row of the keys that a second call finds kept change places
};

// In which type results of bf16 that are merged from several blocks are computed. fp16 is as fast on GPUs and carries three
// more bits; magnitudes of q, k and v above 65504 become inf in it. Always bf16 above kLongestInHalf positions.
enum class CpBlockType {
  fp16_on_gpu,  // and bf16 on CPUs
  model,        // bf16 (--cp-block-type bf16)
  fp16,         // everywhere; for tests, CPUs are slow at it
};

// Whether a backward computes some heads of a block early, to fill the end of an attend before (HeadPart::filler).
enum class CpFillers {
  beside_each_other,  // where attends run beside each other and messages are long (pays_to_cut)
  always,             // where heads divide; for tests, a device that does one thing at a time gains nothing
};

struct CpAttentionOptions {
  // The same bits in every run on a GPU too, at some cost in memory and speed (--deterministic-mode); on a CPU it is so
  // anyway.
  bool deterministic = false;
  CpBlockType blocks = CpBlockType::fp16_on_gpu;
  CpFillers fillers = CpFillers::beside_each_other;
  int hierarchical_a = 1;  // ranks that share heads under a2a+p2p: the first of --hierarchical-context-parallel-sizes
  // Parts into which heads are cut so that the all-to-all of one hides behind the attention of another; taken where all
  // ranks' heads divide by it. 0: chosen by device and length.
  int head_groups = 0;
  RunObserver* observer = nullptr;  // must outlive the CpAttention; null: nobody
  CpFault fault = CpFault::none;
  int fault_layer = -1;  // the one layer that has the fault; -1: all
};

// `group` must outlive the result and every backward pass through it. Not thread-safe: one call at a time.
// layout.ranks() must be group.size().
std::unique_ptr<CpAttention> make_cp_attention(Communicator& group, SequenceLayout layout,
                                               const CpAttentionOptions& options = {});

}  // namespace ringtron

// The rows of docs/support.md, and the page made of them. A verdict says what the code does today; "not yet"
// names the part of the roadmap it waits for.
#include "ringtron/tools/check/support_table.h"

#include <fmt/format.h>

#include <algorithm>

namespace ringtron {
namespace {

constexpr Support kYes = Support::yes, kBetter = Support::better, kNotYet = Support::not_yet, kNo = Support::no;

constexpr SupportRow kRows[] = {
    {1, "Groups of context-parallel ranks, tensor ranks innermost", "order tp-cp-ep-dp-pp", kBetter,
     "The same ranks; check_cp_config prints all groups without a launch.",
     "tests/grid/process_grid_test.cpp ProcessGrid.GoldenDefaultOrder"},
    {2, "The other rank order", "--use-tp-pp-dp-mapping", kYes, "The same flag and the same ranks.",
     "tests/grid/process_grid_test.cpp ProcessGrid.GoldenPipelineBeforeData"},
    {3, "Context groups in two levels", "--hierarchical-context-parallel-sizes, any number of levels in the grid", kYes,
     "The grid takes any levels; a2a+p2p uses two, as TransformerEngine does.",
     "tests/grid/process_grid_test.cpp ProcessGrid.HierarchicalContextGroups"},
    {4, "Zigzag division of dense batches", "2 CP equal chunks, ranks hold r and 2 CP - 1 - r", kBetter,
     "Equal where the length divides; any other length works too.",
     "tests/context_parallel/plan/sequence_layout_test.cpp SequenceLayout.ZigzagIsMegatronsWhereItDivides"},
    {5, "Who reads a batch", "every context rank reads whole sequences; tensor ranks get them by broadcast", kBetter,
     "Each rank reads only its own positions, and nothing is broadcast.",
     "tests/data/data_loader_test.cpp DataLoader.ReadsOnlyItsOwnRanges"},
    {6, "Rotary positions under CP", "a slice of the table by zigzag chunk", kYes,
     "The table is indexed by position, so every layout is right.",
     "tests/kernels/rotary_test.cpp Rotary.ZigzagPositionsAreRowsOfTheWhole"},
    {7, "Learned positions under CP", "position ids are sliced with the batch", kYes,
     "Position ids come with the rank's own tokens.",
     "tests/train/layout_parity_gpt_dist_test.cpp LayoutParity.GptLike"},
    {8, "Ring forward, causal", "output merged in 16 bits; all K/V buffers are kept", kBetter,
     "Parts are summed in fp32, in an order fixed by position.",
     "tests/context_parallel/cp_attention_test.cpp CpAttentionOver.DenseMasks"},
    {9, "Ring forward, full mask", "yes", kYes, "A mask is data of the plan.",
     "tests/context_parallel/cp_attention_fuzz_test.cpp CpAttentionFuzz.EqualsTheReference"},
    {10, "Ring backward", "dQ, dK, dV summed and sent in 16 bits", kBetter, "Sums are kept and sent in fp32.",
     "tests/context_parallel/cp_attention_test.cpp CpAttentionOver.DenseMasks"},
    {11, "Two compute streams in the ring", "steps alternate between two streams", kNo,
     "Transfers have a stream of their own and attention has one; a second was measured and gained nothing of a step.",
     ""},
    {12, "Order of sends and receives", "even and odd ranks post in different order; grouped calls for CP 2", kBetter,
     "All messages of a step are one grouped exchange, and every plan is proven free of wait cycles.",
     "tests/context_parallel/schedule/schedule_check_test.cpp EverySchedule.IsProven"},
    {13, "Grouped-query attention in the ring", "only the key/value heads travel", kYes, "The same bytes.",
     "tests/tools/check_cp_config_test.cpp CheckCpConfig.BytesOfTheRingAreThoseOfTheFacts"},
    {14, "Multi-head and multi-query attention", "special cases", kYes, "One code for every number of query groups.",
     "tests/context_parallel/cp_attention_test.cpp CpAttentionOver.HeadsThatDoNotDivide"},
    {15, "Attention dropout under CP", "random state per step; hidden dropout repeats on context ranks", kBetter,
     "A mask is a function of head and position, the same for every CP size.",
     "tests/context_parallel/attention_dropout_test.cpp AttentionDropout.APartIsThePartOfTheWhole"},
    {16, "Merging partial softmaxes", "log-sum-exp in fp32", kBetter,
     "The same, and rows that saw no key yet give zero, not NaN.",
     "tests/context_parallel/row_accumulator_test.cpp SoftmaxMerge.EmptyPartsGiveZeroAndMinusInfinityNotNan"},
    {17, "Bias on scores in the ring", "p2p with the fused kernel only", kNo, "No model here has such a bias.", ""},
    {18, "Largest score over all context ranks", "maximum over the group, for logs and clipping", kNo,
     "Neither the log value nor clipping of queries is built.", ""},
    {19, "all_gather", "gathers K and V, then computes", kBetter,
     "Attends to the rank's own keys while the others' travel.",
     "tests/context_parallel/cp_attention_test.cpp CpAttentionOver.DenseMasks"},
    {20, "all_gather with a sliding window", "yes", kYes,
     "Whole blocks are gathered, and attended to as far as the window reaches.",
     "tests/context_parallel/cp_attention_test.cpp CpAttentionOver.WindowsDocumentsAndSinks"},
    {21, "a2a", "head counts must divide by CP", kBetter,
     "Any number of heads: uneven shares, key/value heads on several ranks.",
     "tests/context_parallel/cp_attention_test.cpp CpAttentionOver.HeadsThatDoNotDivide"},
    {22, "Windows and softmax sinks", "a2a has both; p2p has neither", kBetter,
     "Both in every transport; under p2p a window moves only the rows it reaches.",
     "tests/context_parallel/cp_attention_test.cpp CpAttentionOver.WindowsDocumentsAndSinks"},
    {23, "a2a+p2p", "a2a inside, ring outside", kBetter,
     "The same two levels, with any mask, softmax and number of heads.",
     "tests/context_parallel/cp_attention_fuzz_test.cpp CpAttentionFuzz.EqualsTheReference"},
    {24, "Another transport per layer", "--cp-comm-type with one word per layer", kBetter,
     "The same, and auto chooses by predicted time.", "tests/train/context_parity_dist_test.cpp ContextParity.Auto"},
    {25, "Both spellings of all_gather", "the help says allgather, the code wants all_gather", kBetter,
     "Both are read; check_cp_config says so.",
     "tests/tools/check_cp_config_test.cpp CheckCpConfig.TellsThatAllgatherIsReadAsAllGather"},
    {26, "Packed sequences", "each document's length a multiple of 2 CP", kBetter,
     "Documents of any length, down to one token.",
     "tests/context_parallel/cp_attention_test.cpp CpAttentionOver.WindowsDocumentsAndSinks"},
    {27, "Padding between packed documents", "a second table of padded lengths", kBetter,
     "There is no padding: no length needs it.",
     "tests/context_parallel/cp_attention_fuzz_test.cpp CpAttentionFuzz.EqualsTheReference"},
    {28, "Masks between documents in pretraining", "ignored or wrong above CP 1", kBetter,
     "--reset-attention-mask works in every layout.",
     "tests/train/context_parity_dist_test.cpp ContextParity.Documents"},
    {29, "Another CP size for each sample", "--hybrid-context-parallel", kNotYet,
     "Waits for the part of the roadmap on dynamic CP; the balanced layout evens out work at one size.", ""},
    {30, "Conversations padded to 2 CP", "its dataset pads each conversation", kNo,
     "There is no dataset of conversations, and lengths need no padding.", ""},
    {31, "Loss under CP", "mean of the ranks' means, or sums with --calculate-per-token-loss", kBetter,
     "Always the exact mean over tokens, whatever the layout.",
     "tests/train/layout_parity_dist_test.cpp LayoutParity.LlamaLike"},
    {32, "Gradients summed over DP x CP", "yes", kYes, "One group of both axes, in buckets, during the backward.",
     "tests/data_parallel/gradient_reducer_dist_test.cpp GradientReducer.MatchesOneProcess"},
    {33, "Optimizer state divided over DP x CP", "--use-distributed-optimizer", kYes,
     "The same: reduce-scatter in the backward, gathers after the step or in the next forward; checkpoints are whole.",
     "tests/train/distributed_optimizer_dist_test.cpp DistributedOptimizer.LlamaLike"},
    {34, "Tied embeddings, sequence and pipeline parallelism with CP", "all compose", kYes,
     "All compose: 1F1B, interleaved, GPipe and zero-bubble, stages even or not.",
     "tests/train/pipeline/pipeline_parity_dist_test.cpp PipelineParity.GptLike"},
    {35, "Pipeline activations divided by CP", "messages between stages hold s / CP rows", kYes,
     "The same; with sequence parallelism s / CP / TP.",
     "tests/train/pipeline/pipeline_parity_dist_test.cpp PipelineParity.LlamaLike"},
    {36, "Multi-token prediction across context ranks", "neighbours exchange chunk ends", kNotYet,
     "Waits for multi-token prediction, which is not built.", ""},
    {37, "Mamba under CP", "all-to-all around the scan", kBetter,
     "The same in one exchange each way, any heads and groups; or states are passed on, whatever the length.",
     "tests/mamba_context_parallel/context_scan_test.cpp ContextScan.EqualsOneProcess"},
    {38, "Other linear attention under CP", "all-to-all", kNo, "No such layer is built.", ""},
    {39, "Latent attention under CP", "K and V of different head size, p2p and a2a", kNotYet,
     "Attention takes values of another head size in every transport; the layer around it is not built.",
     "tests/context_parallel/cp_attention_test.cpp CpAttentionOver.HeadsThatDoNotDivide"},
    {40, "Sparse attention under CP", "all_gather only", kNo, "No sparse attention is built.", ""},
    {41, "Mixtures of experts with CP", "auxiliary loss scaled by CP", kNo, "Mixtures of experts are not built.", ""},
    {42, "FP8 attention under CP", "several recipes", kNo, "The smallest types are bf16 and fp16.", ""},
    {43, "Recomputing activations under CP", "attention communicates again", kBetter,
     "The same bits as without; with --cp-keep-kv recomputed attention sends nothing.",
     "tests/train/recompute_dist_test.cpp Recompute.EachTransport"},
    {44, "CUDA graphs with CP", "in part", kNo, "There are no CUDA graphs; the flags are read without effect.",
     "tests/config/option_test.cpp Option.EveryMegatronFlagHasAVerdict"},
    {45, "Deterministic CP", "a flag handed to kernels", kBetter,
     "The merge order is fixed by position: equal bits in every run, on GPUs under --deterministic-mode.",
     "tests/context_parallel/cp_attention_dist_test.cpp CpAttentionProcesses.SameBitsEveryTime"},
    {46, "Evaluation under CP", "the training path, sums over DP x CP", kYes,
     "The same path and the same sums; the loss is that of one process, also of several sets read whole.",
     "tests/train/evaluation_dist_test.cpp Evaluation.WholeSetsEqualOneProcess"},
    {47, "Checkpoints that do not depend on CP", "yes", kYes, "Files hold logical tensors; CP leaves no trace in them.",
     "tests/checkpoint/round_trip_test.cpp RoundTrip.EveryTensorParallelSizeLoadsUnderEveryOther"},
    {48, "Resume with another CP size", "weights and optimizer; dropout differs", kBetter,
     "Weights, optimizer, dropout and order of samples go on as before.",
     "tests/train/resume_dist_test.cpp Resume.OtherLayoutsHoldTheSameBitsAndGoOn"},
    {49, "Throughput under CP", "model FLOPs by time and ranks, not checked", kBetter,
     "The same formula, but attention counts by the pairs of its masks ([log line](formats/log_line.md)), and a rate "
     "above the device's peak stops the run.",
     "tests/train/device_peak_test.cpp DevicePeak.WhatIsTooFastIsRefused"},
    {50, "Refusals and their messages", "the first assert stops the run", kBetter,
     "All faults at once, each with its fix; --strict-megatron refuses what Megatron refuses.",
     "tests/config/validate_test.cpp Validate.EachRuleFiresAlone"},
    {51, "Inference under CP", "none", kNo, "Ringtron trains only.", ""},
    {52, "NCCL options and priorities per group", "a YAML file, --high-priority-stream-groups", kNo,
     "NCCL's own environment variables hold for all groups.", ""},
    {53, "Finding out who hangs", "torch's flight recorder, after the fact", kBetter,
     "The error on every rank names the group, the operation and the ranks that died or did not come.",
     "tests/context_parallel/ring_kill_fault_test.cpp RingKill.P2pInTheForward"},
    {54, "Attention kernels", "FlashAttention 2 and 3, cuDNN", kYes,
     "cuDNN on GPUs, ATen's fused kernel on CPUs, plain operations in fp64, behind one interface.",
     "tests/context_parallel/block_attention_test.cpp CpuBlock.MatchesLoopsInAllTypes"},
    {55, "Start-up line", "sizes of all axes", kYes, "The same text.",
     "tests/grid/process_grid_test.cpp ProcessGrid.StartUpLine"},
    {56, "Length that is no multiple of 2 CP", "refused", kBetter,
     "Trained as it is; --strict-megatron refuses it with Megatron's message.",
     "tests/train/context_parity_dist_test.cpp ContextParity.RaggedShards"},
};

constexpr std::string_view kHead =
    R"(# Context parallelism: what is supported

Made by `check_cp_config --support-table`; the rows stand in `src/ringtron/tools/check/support_table.cpp`. A test
compares this page with them and looks up every test that is named here.

**yes**: as in Megatron-LM with TransformerEngine. **yes, better**: also where those refuse, are wrong or inexact.
**not yet**: on the roadmap. **no**: not planned for now.

)";

std::string proof_text(std::string_view proof) {
  if (proof.empty()) return "";
  const std::size_t blank = proof.find(' ');
  if (blank == std::string_view::npos) return fmt::format("`{}`", proof);
  return fmt::format("`{}` {}", proof.substr(0, blank), proof.substr(blank + 1));
}

}  // namespace

std::span<const SupportRow> support_table() { return kRows; }

std::string_view to_text(Support support) {
  switch (support) {
    case Support::yes:
      return "yes";
    case Support::better:
      return "yes, better";
    case Support::not_yet:
      return "not yet";
    case Support::no:
      return "no";
  }
  return "unknown";
}

std::string support_table_markdown() {
  std::string text(kHead);
  const auto rows = support_table();
  for (const Support support : {Support::yes, Support::better, Support::not_yet, Support::no}) {
    const auto count =
        std::count_if(rows.begin(), rows.end(), [&](const SupportRow& row) { return row.support == support; });
    text += fmt::format("{}{}: {}", support == Support::yes ? "" : ", ", to_text(support), count);
  }
  text += fmt::format(", of {} rows.\n\n| # | Feature | Megatron-LM, TransformerEngine | Ringtron | Why | Test |\n",
                      rows.size());
  text += "|---|---|---|---|---|---|";
  for (const SupportRow& row : rows) {
    text += fmt::format("\n| {} | {} | {} | {} | {} | {} |", row.number, row.feature, row.original,
                        to_text(row.support), row.why, proof_text(row.proof));
  }
  return text;
}

}  // namespace ringtron

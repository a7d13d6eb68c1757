// Flags that say how ranks share the work.
#include "ringtron/choices/transport_words.h"
#include "ringtron/config/option.h"

namespace ringtron {
namespace {

constexpr Option kOptions[] = {
    {"--tensor-model-parallel-size",
     FIELD(parallel.tensor_model_parallel_size),
     OnLoad::free,
     "Ranks that share each weight matrix (TP).",
     {.at_least = 1}},
    {"--pipeline-model-parallel-size",
     FIELD(parallel.pipeline_model_parallel_size),
     OnLoad::free,
     "Stages into which the layers are cut (PP). Only 1 so far.",
     {.at_least = 1}},
    {"--context-parallel-size",
     FIELD(parallel.context_parallel_size),
     OnLoad::free,
     "Ranks that share one sequence (CP), of any length.",
     {.at_least = 1},
     Compat::ours,
     {.note = "Megatron needs a sequence length that is a multiple of 2 CP; --strict-megatron demands it too"}},
    {"--cp-comm-type",
     FIELD(parallel.cp_comm_type),
     OnLoad::free,
     "How attention reaches the other context-parallel ranks' keys and values: one word, or one per layer. "
     "p2p: a ring; all_gather: gathered; a2a: heads are divided instead of the sequence; a2a+p2p: both, by "
     "--hierarchical-context-parallel-sizes; auto: the fastest by shapes and links. Mamba layers share out heads under a2a and pass states on under any other word.",
     {.choices = cp_comm_types},
     Compat::ours,
     {.note = "auto is Ringtron's; each word works with every mask, softmax, length and number of heads"}},
    {"--hierarchical-context-parallel-sizes",
     FIELD(parallel.hierarchical_context_parallel_sizes),
     OnLoad::free,
     "A P of a2a+p2p: A neighbouring ranks share heads, P such groups form a ring. A x P is CP.",
     {.at_least = 1},
     Compat::same,
     {.needs = "--cp-comm-type a2a+p2p | --cp-comm-type auto"}},
    {"--cp-layout",
     FIELD(parallel.cp_layout),
     OnLoad::free,
     "Which positions of a sequence a context-parallel rank holds. zigzag: an early and a late chunk; "
     "contiguous: one part; balanced: chunks of equal work under the masks of each micro-batch.",
     {},
     Compat::ours,
     {.note = "Megatron has zigzag only"}},
    {"--no-peer-copies",
     FIELD(parallel.peer_copies),
     OnLoad::free,
     "Let NCCL's kernels carry messages of context and sequence parallelism between GPUs of one machine, not their "
     "copy engines.",
     {},
     Compat::ours,
     {.note =
          "copy engines leave all multiprocessors to products and attention; groups that cannot use them say so and use NCCL",
      .key = "peer_copies",
      .turns = false}},
    {"--no-proof-of-exchange",
     FIELD(parallel.proof_of_exchange),
     OnLoad::free,
     "Do not compare the bytes sent and the pairs attended to by each layer with what they must be after the "
     "first step, nor the throughput with the device's peak.",
     {},
     Compat::ours,
     {.note = "Megatron has no such proof", .key = "proof_of_exchange", .turns = false}},
    {"--strict-megatron",
     FIELD(parallel.strict_megatron),
     OnLoad::free,
     "Refuse what Megatron-LM's context parallelism refuses, with its message.",
     {},
     Compat::ours,
     {.note = "for scripts that must run there too"}},
    {"--sequence-parallel", FIELD(parallel.sequence_parallel), OnLoad::free,
     "Cut norms, dropout and residuals along the sequence within a tensor-parallel group. Needs TP > 1. Communication "
     "of linear layers goes in pieces under their products (Megatron's --tp-comm-overlap)."},
    {"--use-tp-pp-dp-mapping", FIELD(parallel.use_tp_pp_dp_mapping), OnLoad::free,
     "Number ranks in the order tp-cp-pp-dp instead of tp-cp-dp-pp."},
    {"--overlap-grad-reduce", FIELD(parallel.overlap_grad_reduce), OnLoad::free,
     "Reduce each bucket of gradients as soon as it is full, during the backward pass."},
    {"--ddp-bucket-size",
     FIELD(parallel.ddp_bucket_size),
     OnLoad::free,
     "Size of a gradient bucket.",
     {.at_least = 0},
     Compat::same,
     {.unit = "elements", .default_text = "from the size of the group"}},
    {"--use-distributed-optimizer", FIELD(parallel.use_distributed_optimizer), OnLoad::free,
     "Divide main weights and Adam's moments over the data- and context-parallel ranks: gradients are reduce-scattered, "
     "each rank updates its share, parameters are gathered after the step. Same results, less memory."},
    {"--distributed-backend",
     FIELD(parallel.distributed_backend),
     OnLoad::free,
     "Library that moves tensors between ranks.",
     {},
     Compat::ours,
     {.note = "Megatron's default is nccl everywhere", .default_text = "nccl with a GPU, gloo without"}},
    {"--distributed-timeout-minutes",
     FIELD(parallel.distributed_timeout_minutes),
     OnLoad::free,
     "How long a rank waits for another one before it gives up with an error. Fractions are allowed.",
     {.above = 0},
     Compat::same,
     {.unit = "minutes"}},
};

}  // namespace

std::span<const Option> parallel_options() { return kOptions; }

}  // namespace ringtron

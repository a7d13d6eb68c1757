// Flags that say how ranks share the work.
#include "ringtron/config/option.h"

namespace ringtron {
namespace {

// Both spellings of the gather variant are in circulation; resolve() settles on all_gather.
constexpr std::string_view kCpCommTypes[] = {"p2p", "all_gather", "allgather", "a2a", "a2a+p2p"};
constexpr std::string_view kBackends[] = {"nccl", "gloo"};

constexpr Option kOptions[] = {
    {"--tensor-model-parallel-size",
     FIELD(parallel.tensor_model_parallel_size),
     "Ranks that share each weight matrix (TP).",
     {.at_least = 1}},
    {"--pipeline-model-parallel-size",
     FIELD(parallel.pipeline_model_parallel_size),
     "Stages into which the layers are cut (PP). Only 1 so far.",
     {.at_least = 1}},
    {"--context-parallel-size",
     FIELD(parallel.context_parallel_size),
     "Ranks that share one sequence (CP). The sequence length must be a multiple of 2 CP.",
     {.at_least = 1}},
    {"--cp-comm-type",
     FIELD(parallel.cp_comm_type),
     "How keys and values reach the other context-parallel ranks: one word, or one per layer. Only p2p so "
     "far.",
     {.choices = kCpCommTypes}},
    {"--hierarchical-context-parallel-sizes",
     FIELD(parallel.hierarchical_context_parallel_sizes),
     "Sizes of the levels of a context-parallel group, innermost first; their product is CP.",
     {.at_least = 1}},
    {"--sequence-parallel", FIELD(parallel.sequence_parallel),
     "Cut norms, dropout and residuals along the sequence within a tensor-parallel group. Needs TP > 1."},
    {"--use-tp-pp-dp-mapping", FIELD(parallel.use_tp_pp_dp_mapping),
     "Number ranks in the order tp-cp-pp-dp instead of tp-cp-dp-pp."},
    {"--overlap-grad-reduce", FIELD(parallel.overlap_grad_reduce),
     "Reduce each bucket of gradients as soon as it is full, during the backward pass."},
    {"--ddp-bucket-size",
     FIELD(parallel.ddp_bucket_size),
     "Size of a gradient bucket.",
     {.at_least = 0},
     Compat::same,
     {.unit = "elements", .default_text = "from the size of the group"}},
    {"--distributed-backend",
     FIELD(parallel.distributed_backend),
     "Library that moves tensors between ranks.",
     {.choices = kBackends},
     Compat::ours,
     {.note = "Megatron's default is nccl everywhere", .default_text = "nccl with a GPU, gloo without"}},
    {"--distributed-timeout-minutes",
     FIELD(parallel.distributed_timeout_minutes),
     "How long a rank waits for another one before it gives up with an error. Fractions are allowed.",
     {.above = 0},
     Compat::same,
     {.unit = "minutes"}},
};

}  // namespace

std::span<const Option> parallel_options() {
  return kOptions;
}

}  // namespace ringtron

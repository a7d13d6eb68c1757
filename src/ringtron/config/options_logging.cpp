// Flags of evaluation and of everything a run tells while it runs.
#include "ringtron/config/option.h"

namespace ringtron {
namespace {

constexpr Option kEvaluationOptions[] = {
    {"--eval-interval",
     FIELD(evaluation.eval_interval),
     OnLoad::free,
     "Evaluate after each step that is a multiple of this.",
     {.at_least = 1},
     Compat::ours,
     {.note = "Megatron 0.16 and later fails without the flag", .unit = "steps"}},
    {"--eval-iters",
     FIELD(evaluation.eval_iters),
     OnLoad::free,
     "Global batches per evaluation; 0: no evaluation.",
     {.at_least = 0},
     Compat::same,
     {.unit = "batches"}},
};

constexpr Option kLoggingOptions[] = {
    {"--log-interval",
     FIELD(logging.log_interval),
     OnLoad::free,
     "Steps between log lines.",
     {.at_least = 1},
     Compat::same,
     {.unit = "steps"}},
    {"--tensorboard-dir",
     FIELD(logging.tensorboard_dir),
     OnLoad::free,
     "Folder for TensorBoard event files.",
     {},
     Compat::same,
     {.default_text = "none"}},
    {"--tensorboard-log-interval",
     FIELD(logging.tensorboard_log_interval),
     OnLoad::free,
     "Steps between TensorBoard points.",
     {.at_least = 1},
     Compat::same,
     {.unit = "steps", .needs = "--tensorboard-dir"}},
    {"--tensorboard-queue-size",
     FIELD(logging.tensorboard_queue_size),
     OnLoad::free,
     "Points kept in memory before a write.",
     {.at_least = 1},
     Compat::accepted_no_effect,
     {.note = "there is no queue: what is logged is written at each log step", .needs = "--tensorboard-dir"}},
    {"--log-throughput", FIELD(logging.log_throughput), OnLoad::free, "Add model TFLOP/s per rank to the log line."},
    {"--log-params-norm", FIELD(logging.log_params_norm), OnLoad::free,
     "Add the norm of all parameters to the log line."},
    {"--log-num-zeros-in-grad", FIELD(logging.log_num_zeros_in_grad), OnLoad::free,
     "Add the number of zero gradients."},
    {"--log-progress",
     FIELD(logging.log_progress),
     OnLoad::free,
     "Print how long training waited for its data, at the end.",
     {},
     Compat::ours,
     {.note = "Megatron appends to progress.txt instead"}},
    {"--log-validation-ppl-to-tensorboard",
     FIELD(logging.log_validation_ppl_to_tensorboard),
     OnLoad::free,
     "Write validation perplexity to TensorBoard as well.",
     {},
     Compat::same,
     {.needs = "--tensorboard-dir"}},
    {"--timing-log-level",
     FIELD(logging.timing_log_level),
     OnLoad::free,
     "0: step time only; 1: its parts; 2: finer parts.",
     {.at_least = 0, .at_most = 2},
     Compat::accepted_no_effect,
     {.note = "only the step time is printed so far"}},
};

}  // namespace

std::span<const Option> evaluation_options() { return kEvaluationOptions; }
std::span<const Option> logging_options() { return kLoggingOptions; }

}  // namespace ringtron

// Flags that say what is saved, when, and what is loaded.
#include "ringtron/config/option.h"

namespace ringtron {
namespace {

constexpr std::string_view kNoRandomState =
    "there is no such state: random numbers follow from seed, step and position";

constexpr Option kOptions[] = {
    {"--save",
     FIELD(checkpoint.save),
     OnLoad::free,
     "Folder for checkpoints. Needs --save-interval.",
     {},
     Compat::same,
     {.default_text = "nothing is saved"}},
    {"--load",
     FIELD(checkpoint.load),
     OnLoad::free,
     "Folder whose newest complete checkpoint is loaded; any layout.",
     {},
     Compat::same,
     {.default_text = "start from the seed"}},
    {"--save-interval",
     FIELD(checkpoint.save_interval),
     OnLoad::free,
     "Save after each step that is a multiple of this.",
     {.at_least = 0},
     Compat::same,
     {.unit = "steps",
      .default_text = "required with --save",
      .needs = "--save",
      .otherwise = "no checkpoint will be saved"}},
    {"--async-save", FIELD(checkpoint.async_save), OnLoad::free,
     "Write checkpoints while training goes on: it waits only for a copy in the host's memory, which needs room for this "
     "rank's part. A save that is due while the last is being written waits for it."},
    {"--save-retain-interval",
     FIELD(checkpoint.save_retain_interval),
     OnLoad::free,
     "Keep checkpoints of multiples of this and the newest; the one before the newest is removed otherwise, once the "
     "newest is complete. A multiple of --save-interval.",
     {.at_least = 1},
     Compat::same,
     {.unit = "steps", .default_text = "all are kept", .needs = "--save"}},
    {"--no-load-optim",
     FIELD(checkpoint.no_load_optim),
     OnLoad::free,
     "Do not load optimizer moments. The schedule goes on.",
     {},
     Compat::ours,
     {.note = "Megatron also restarts the learning-rate schedule",
      .needs = "--load",
      .otherwise = "moments start from zero"}},
    {"--no-load-rng",
     FIELD(checkpoint.no_load_rng),
     OnLoad::free,
     "Do not load the state of random numbers.",
     {},
     Compat::accepted_no_effect,
     {.note = kNoRandomState, .needs = "--load"}},
    {"--no-save-optim",
     FIELD(checkpoint.no_save_optim),
     OnLoad::free,
     "Leave optimizer moments out of checkpoints.",
     {},
     Compat::same,
     {.needs = "--save"}},
    {"--no-save-rng",
     FIELD(checkpoint.no_save_rng),
     OnLoad::free,
     "Leave the state of random numbers out of checkpoints.",
     {},
     Compat::accepted_no_effect,
     {.note = kNoRandomState, .needs = "--save"}},
    {"--finetune",
     FIELD(checkpoint.finetune),
     OnLoad::free,
     "Load weights only and start at step 0.",
     {},
     Compat::same,
     {.needs = "--load", .otherwise = "weights are drawn from the seed"}},
    {"--ckpt-step",
     FIELD(checkpoint.ckpt_step),
     OnLoad::free,
     "Load the checkpoint of this step instead of the newest.",
     {.at_least = 1},
     Compat::same,
     {.unit = "step", .default_text = "newest"}},
    {"--exit-on-missing-checkpoint", FIELD(checkpoint.exit_on_missing_checkpoint), OnLoad::free,
     "Stop with exit code 1 if --load holds no checkpoint."},
};

}  // namespace

std::span<const Option> checkpoint_options() { return kOptions; }

}  // namespace ringtron

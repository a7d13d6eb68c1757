// The model's flags from what is about to be loaded: a checkpoint with --use-checkpoint-args, or a Hugging Face folder.
#pragma once

#include <span>
#include <string>

#include "ringtron/config/config.h"

namespace ringtron {

struct CheckpointArguments {
  Config defaults;     // for the flags that the command line does not give
  std::string notice;  // what they are from; empty: nothing was asked for
};

// Looks at the flags alone. Each rank reads for itself, before it meets the others; load_checkpoint() sees later that
// all have the same. Throws IoError where there is no complete checkpoint, or its manifest or
// config.json cannot be understood, ConfigError for a Hugging Face folder without --finetune.
CheckpointArguments checkpoint_arguments(std::span<const std::string> words);

}  // namespace ringtron

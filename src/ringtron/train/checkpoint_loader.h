// A TrainingState out of a checkpoint folder, under any layout. What the tensors are called: checkpoint_saver.h.
#pragma once

#include "ringtron/train/job.h"
#include "ringtron/train/training_state.h"

namespace ringtron {

// Loads as --load, --ckpt-step, --finetune, --no-load-optim and --exit-on-missing-checkpoint say. Collective. False: there
// is no checkpoint and the run starts from random weights (said on rank 0). Throws IoError for a damaged checkpoint,
// naming the file and the previous complete one; ConfigError when the model in it is another one.
bool load_checkpoint(const Job& job, TrainingState& state);

}  // namespace ringtron

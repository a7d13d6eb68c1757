// --load of a Hugging Face folder with --finetune: its weights, and training begins at step 0.
#pragma once

#include "ringtron/train/job.h"
#include "ringtron/train/training_state.h"

namespace ringtron {

// Collective. Fills the parameters and restarts the optimizer from them. Throws on all ranks: IoError for a folder that
// cannot be read or differs between machines, ConfigError for flags that are not the model's.
void load_hugging_face(const Job& job, TrainingState& state);

}  // namespace ringtron

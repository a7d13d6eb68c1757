// A TrainingState out of a checkpoint folder, under any layout. What the tensors are called: checkpoint_saver.h.
#pragma once

#include <optional>

#include "ringtron/telemetry/log_line.h"
#include "ringtron/train/job.h"
#include "ringtron/train/training_state.h"

namespace ringtron {

// Loads as --load, --ckpt-step, --finetune, --no-load-optim and --exit-on-missing-checkpoint say; rank 0 looks for the
// checkpoint and all ranks load that one. Collective. False: the folder is absent or empty and the run starts from
// random weights (said on rank 0). Throws IoError for a damaged checkpoint, naming the file and the previous complete
// one, and for anything else in the folder (load_folder.h); ConfigError when the checkpoint is of another model: flags
// that must be equal (config/stored_config.h) with both values, tensors that are missing or have no place. Flags that
// may differ and do are said on rank 0. `record`, if not null, gets how long it took.
bool load_checkpoint(const Job& job, TrainingState& state, std::optional<TransferRecord>* record = nullptr);

}  // namespace ringtron

// What a run keeps in a checkpoint beside tensors: written by checkpoint_saver, read here without forgiveness.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "ringtron/checkpoint/manifest.h"
#include "ringtron/config/stored_config.h"
#include "ringtron/optim/loss_scale.h"
#include "ringtron/optim/lr_schedule.h"
#include "ringtron/train/data_facts.h"
#include "ringtron/train/progress.h"
#include "ringtron/train/training_state.h"

namespace ringtron {

struct RunMetadata {
  Progress progress;
  std::int64_t optimizer_step_count = 0;
  std::int64_t optimizer_skipped_steps = 0;
  bool has_optimizer = true;
  std::optional<LossScaleState> loss_scale;  // of --fp16
  ScheduleState schedule;
  StoredConfig configuration;
  Lineage lineage;
  DataFacts data;
};

// `derived` belongs to the state's configuration.
nlohmann::json run_metadata_of(const TrainingState& state, const DerivedValues& derived, const Lineage& lineage);

// Throws IoError that names the member, what was expected and what is there, for a wrong type or an impossible value.
RunMetadata read_run_metadata(const Manifest& manifest);

}  // namespace ringtron

// All that training changes: parameters, optimizer, schedule, progress. What a checkpoint must bring back.
#pragma once

#include <optional>
#include <vector>

#include "ringtron/checkpoint/lineage.h"
#include "ringtron/config/resolved_config.h"
#include "ringtron/optim/loss_scale.h"
#include "ringtron/optim/lr_schedule.h"
#include "ringtron/optim/optimizer.h"
#include "ringtron/parameter/parameter_store.h"
#include "ringtron/train/data_facts.h"
#include "ringtron/train/progress.h"

namespace ringtron {

struct TrainingState {
  ParameterStore& store;
  Optimizer& optimizer;
  LrSchedule& schedule;
  const ResolvedConfig& config;  // of the run: what a checkpoint keeps and is compared with
  Progress progress;
  std::vector<Ancestor> line = {};           // of the checkpoint that was loaded; empty for a run that began afresh
  DataFacts data = {};                       // of this run, once its data is open
  DataFacts data_before = {};                // of the checkpoint that training goes on from
  std::optional<LossScale> loss_scale = {};  // of --fp16
};

}  // namespace ringtron

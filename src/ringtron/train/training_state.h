// All that training changes: parameters, optimizer, schedule, progress. What a checkpoint must bring back.
#pragma once

#include "ringtron/optim/lr_schedule.h"
#include "ringtron/optim/optimizer.h"
#include "ringtron/parameter/parameter_store.h"
#include "ringtron/train/progress.h"

namespace ringtron {

struct TrainingState {
  ParameterStore& store;
  Optimizer& optimizer;
  LrSchedule& schedule;
  Progress progress;
};

}  // namespace ringtron

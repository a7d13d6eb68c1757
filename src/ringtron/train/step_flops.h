// Operations of a training step of a configuration, see telemetry/flops.h. A function of integers.
#pragma once

#include "ringtron/config/config.h"

namespace ringtron {

// Of one global batch whose samples' masks have `attention_cells` pairs in all (BatchShape). `config` is a Job's.
double step_flops(const Config& config, double attention_cells);

// Of a global batch without document masks.
double step_flops(const Config& config);

}  // namespace ringtron

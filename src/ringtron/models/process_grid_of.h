// The grid of ranks that a configuration asks for.
#pragma once

#include "ringtron/config/config.h"
#include "ringtron/grid/process_grid.h"

namespace ringtron {

// Data parallelism is what TP x CP x PP leave of the world; `config` is valid for it (config/validate.h).
ProcessGrid process_grid_of(const ParallelConfig& parallel, int world_size);

}  // namespace ringtron

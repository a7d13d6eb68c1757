// What check_cp_config says about a pipeline: its stages, its schedule as a drawing, how long ranks wait in it, and
// what passes between them.
#pragma once

#include <string>
#include <vector>

#include "ringtron/config/resolved_config.h"

namespace ringtron {

// Of a command line with several pipeline ranks. `micro_batches`: of a step.
std::vector<std::string> describe_pipeline(const ResolvedConfig& config, int micro_batches);

}  // namespace ringtron

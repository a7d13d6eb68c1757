// What a forward or a backward of a pipeline takes from another rank, and what it makes for one.
#pragma once

#include <optional>

#include "ringtron/pipeline_parallel/pipeline_schedule.h"

namespace ringtron {

// The receive that `work` of this rank waits for; nothing where it needs none.
std::optional<Instruction> receive_for(const Instruction& work, const PipelineShape& shape, int rank);
// The send that follows it.
std::optional<Instruction> send_after(const Instruction& work, const PipelineShape& shape, int rank);

}  // namespace ringtron

// The profile_cp program: what each transport costs for the attention of the user's own configuration.
//
// Every rank runs it as pretrain_gpt is run, with the same flags (no data is read, no model is built) and
// some more; see its --help. One attention layer is run and timed; all layers of a model have the same
// shapes.
#pragma once

#include <span>
#include <string>

#include "ringtron/launch/launch_environment.h"

namespace ringtron {

// Returns the exit code; kExitFailure where some rank sent other bytes than its plan says. Throws what a
// program's main turns into a message and an exit code.
int profile_cp(std::span<const std::string> arguments, const LaunchEnvironment& environment);

}  // namespace ringtron

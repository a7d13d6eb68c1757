// Does training with these flags compute what one process computes? The user's own configuration, made small,
// run both ways on the CPU and compared.
//
// Before that, the schedules of the sizes as they are given are proven on paper (schedule_proof.h).
//
// Takes pretrain_gpt's flags and a few of its own. Started alone it starts the ranks itself, over Gloo; under
// a launcher the launched processes are the ranks. Needs no GPU, no data and no files of a tokenizer.
#pragma once

#include <span>
#include <string>

#include "ringtron/launch/launch_environment.h"

namespace ringtron {

// Prints the result to stdout. Returns kExitOk when every loss and gradient is within the bound, kExitFailure
// when one is not or a rank failed. Throws ConfigError for a bad command line and InternalError, before
// anything runs, when a proof of the schedules fails. Call it from the main thread, before there are others.
int verify_cp(std::span<const std::string> arguments, const LaunchEnvironment& environment);

}  // namespace ringtron

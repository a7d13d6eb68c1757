// A few transformer layers under tensor, sequence and context parallelism, shown and checked: Megatron-LM
// users' minimal demonstration, done right.
//
// Shows 1. which ranks form which group, as the ranks themselves find out by talking to each other; 2.
// forward and backward of a transformer block on shards of one tensor, gathered, put back into order and
// compared with one process;
// 3. the all-to-all exchange between shards of the sequence and shards of the channels, with its contents.
#pragma once

#include <span>
#include <string>

#include "ringtron/launch/launch_environment.h"

namespace ringtron {

// `arguments`: flags of pretrain_gpt, all with defaults. Rank 0 prints everything, to stdout. Returns kExitOk
// when all three are right and kExitFailure, on all ranks, when something is wrong. Throws ConfigError for a
// bad command line.
int cp_demo(std::span<const std::string> arguments, const LaunchEnvironment& environment);

}  // namespace ringtron

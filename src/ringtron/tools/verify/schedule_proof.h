// The schedules of a command line, of all its context-parallel ranks, proven without running anything.
#pragma once

#include <string>

#include "ringtron/config/config.h"

namespace ringtron {

// Proves the schedules of every transport that some layer may use, forward and backward, with the sizes of the command
// line: context_parallel/schedule/schedule_check.h says what is proven. Where samples are made of documents, whose ends
// only the data know, made-up ones stand for them. Long sequences over many ranks are proven at a shorter length that
// divides over the ranks in the same way, so that it takes under two seconds. `config` is valid for `world_size`.
//
// Returns one line: "schedules proven: p2p and a2a over 4 ranks, 1024 positions, 424 operations", or why they were not
// looked at. Throws InternalError, with the first lines of what is wrong, where a proof fails.
std::string prove_schedules(const Config& config, int world_size);

}  // namespace ringtron

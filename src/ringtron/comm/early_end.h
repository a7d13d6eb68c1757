// The end of a rank that cannot start: it has not met the others, and they must not wait for it.
#pragma once

#include <chrono>
#include <string>

#include "ringtron/comm/rendezvous.h"

namespace ringtron {

// Tells the others why. Rank 0 opens the hub for them and stays until all have heard `why`; another rank tells the hub. Both give up
// after `limit`, without an error. True if another rank has said the same already.
bool tell_early_end(RendezvousOptions options, const std::string& why, std::chrono::milliseconds limit = std::chrono::seconds(10));

}  // namespace ringtron

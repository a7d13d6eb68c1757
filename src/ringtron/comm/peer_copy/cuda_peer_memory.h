// Internal to comm: GPU memory that other processes of the machine can copy from.
#pragma once

#include <memory>

#include "ringtron/comm/peer_copy/peer_copies.h"
#include "ringtron/comm/peer_copy/shared_memory.h"

namespace ringtron {

// Of this thread's current GPU; flags lie in `board`, which it keeps. Throws std::exception where this GPU or driver
// cannot do it.
std::unique_ptr<PeerMemory> make_cuda_peer_memory(SharedMemory board);

}  // namespace ringtron

// How many threads this rank computes with, where the user has not said.
#pragma once

#include "ringtron/comm/communicator.h"

namespace ringtron {

// Sets LibTorch's threads to this rank's share of the machine's cores (launch/core_share.h), unless OMP_NUM_THREADS or
// MKL_NUM_THREADS is set. Rank 0 says so. Collective over `world`, also where some ranks have set them; call it before
// the first computation.
void share_cores(Communicator& world);

}  // namespace ringtron

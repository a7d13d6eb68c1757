// Which transport each layer's attention uses, as --cp-comm-type says.
#pragma once

#include <vector>

#include "ringtron/context_parallel/plan/transport.h"
#include "ringtron/train/job.h"

namespace ringtron {

// One for each layer, also of those without attention: a Mamba layer shares out heads under a2a and passes states on
// otherwise, under auto too, the same on all ranks. Where the flag says auto, the transport that transport_choice.h
// predicts to be fastest for the run's shapes, one for all of these layers; rank 0 prints it with the reason.
// Collective.
std::vector<CpTransport> layer_transports(const Job& job);

}  // namespace ringtron

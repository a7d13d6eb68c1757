// The proof of exchange: after the first step every layer's bytes and attended pairs are what they had to be.
#pragma once

#include "ringtron/context_parallel/plan/exchange_proof.h"
#include "ringtron/train/job.h"

namespace ringtron {

// `proof` counts one whole step of this rank. Throws InternalError, on all ranks, that names layers and ranks
// if attention of any context-parallel group did something else than its plans. Collective over all ranks, on
// the host.
void require_proven_exchange(const Job& job, const ExchangeProof& proof);

}  // namespace ringtron

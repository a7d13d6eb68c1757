// Whether this machine can hold what the command line asks for, said before anything is allocated; and what holds the
// memory when it runs out all the same.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ringtron/train/job.h"

namespace ringtron {

// Bytes that a rank may take on its device: the share of one of `ranks_here` ranks on this machine, or its GPU's free
// memory. Nothing where that is not known.
std::optional<std::int64_t> memory_of_rank(at::Device device, int ranks_here);

// Throws ConfigError, the same on all ranks, where weights, gradients and optimizer
// state alone are more than a rank has, or the peak of a step is twice that; warns, in the words of the first rank that
// has too little, where the peak is more. Collective: nobody allocates before all have looked.
void require_memory(const Job& job);

// The same for tools that run a part of a model: throws ConfigError, on all ranks, where the `bytes` that `what` takes
// on this rank are more than it has. Collective.
void require_bytes(const Job& job, std::int64_t bytes, const std::string& what);

// "Rank 3 holds by estimate ...: weights ..., activations ... Flags that help: --...": for the message of an allocation
// that failed.
std::string memory_breakdown(const Job& job);

}  // namespace ringtron

// The memory that a rank needs, told before anything is allocated, and which flags would make it less.
//
// Workspaces of kernels, buffers of messages and fragmentation come on top.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ringtron/config/resolved_config.h"
#include "ringtron/models/activation_bytes.h"
#include "ringtron/models/state_bytes.h"

namespace ringtron {

// Of one rank: the one with most positions, of the pipeline stage that needs most.
struct MemoryEstimate {
  StateBytes state;
  ActivationBytes activations;
  int pipeline_rank = 0;
  std::int64_t peak() const { return state.sum() + activations.peak(); }
};

// ConfigError where a shape does not divide by TP. No closed form overflows within the limits of config/size_limits.h.
MemoryEstimate estimate_memory(const ResolvedConfig& config);

// "weights 1.0 GiB, gradients 2.0 GiB, optimizer 6.0 GiB, activations 3.1 GiB".
std::string to_string(const MemoryEstimate& estimate);

// "an evaluation takes more than a step, 3.1 GiB: --eval-micro-batch-size 8"; empty where it does not.
std::string evaluation_note(const ResolvedConfig& config, const MemoryEstimate& estimate);

// A change of the command line, and what a rank would need then.
struct MemorySaving {
  std::string flags;
  int times_ranks = 1;  // it takes so many times as many ranks
  MemoryEstimate estimate;
};

// What would make a rank need less, cheapest first: what costs time, then what costs ranks. Only flags that exist and
// that the model's shape allows; each alone.
std::vector<MemorySaving> memory_savings(const ResolvedConfig& config);

// "--micro-batch-size 1 (1.2 GiB), or --tensor-model-parallel-size 2 (0.9 GiB, on 2 times as many ranks)": the savings
// that bring the peak to at most `available`; if none does, those that save most, and that they are not enough.
std::string memory_advice(const ResolvedConfig& config, std::int64_t available);

}  // namespace ringtron

// What a training step costs one rank in bytes sent, computed from the configuration alone. What it holds in
// memory: models/memory_estimate.h.
//
// Nothing here is measured. Bytes of collectives are those that a ring algorithm sends from one rank: a
// gather or a scattered sum of S bytes over t ranks costs (t-1)/t S, a sum that all get twice that.
#pragma once

#include <cstdint>

#include "ringtron/config/resolved_config.h"
#include "ringtron/models/state_bytes.h"

namespace ringtron {

struct SentBytes {
  std::int64_t forward = 0;
  std::int64_t backward = 0;
};

// A module whose costs are given, one micro-batch of `rows` positions of this context rank.
SentBytes tensor_module_bytes(const ResolvedConfig& config, const ModuleCosts& costs, std::int64_t rows);

// Of what stands around the layers: word embedding, output layer, cross entropy.
SentBytes tensor_ends_bytes(const ResolvedConfig& config, std::int64_t rows);

// Sum of the gradient buffer over the replicas, once per step.
std::int64_t gradient_sum_bytes(const ResolvedConfig& config, const ParameterCount& count, int replicas);

}  // namespace ringtron

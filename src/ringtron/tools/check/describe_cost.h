// Memory and traffic of a run as lines of text.
#pragma once

#include "ringtron/tools/check/describe_layout.h"

namespace ringtron {

// Parameters in all and of one rank, and the bytes of model state on a rank. `replicas`: DP x CP.
Lines describe_parameters(const ResolvedConfig& config, int replicas);

// How uneven the ranks' shares of attention are under the transports of the layers, that which auto chooses among them.
// ConfigError where auto cannot choose, since heads or lengths do not divide.
std::string describe_balance(const ResolvedConfig& config);

// What a rank's memory holds at most: model state, and activations of one micro-batch. ConfigError where heads or
// lengths do not divide.
Lines describe_memory(const ResolvedConfig& config);

// Bytes that one rank sends, per layer and per step: context parallelism by transport, added up from the
// plans and beside it the closed form where there is one; tensor parallelism; gradients. `replicas` as above,
// `micro_batches` per step. ConfigError where heads or lengths do not divide.
Lines describe_traffic(const ResolvedConfig& config, int replicas, std::int64_t micro_batches);

}  // namespace ringtron

// Initial weights that do not depend on the layout.
//
// Element i of the whole logical tensor is a pure function of (seed, parameter name, i), so any division over
// tensor ranks starts from bit-equal weights, and no rank needs to talk to another. The numbers are drawn in fp64
// where the parameter is and rounded through fp32 (fp64 for an fp64 parameter) to its type. A GPU's logarithm and sine
// differ from a CPU's in the last bit of a double, which hardly any fp32 weight shows.
//
// All functions write parameter.value, whose shape must be shard.local_shape(tp_size); InternalError
// otherwise. Threads: uses LibTorch's intra-op threads; the result does not depend on their number.
#pragma once

#include <cstdint>

#include "ringtron/parameter/parameter.h"

namespace ringtron {

// N(0, std).
void fill_normal(Parameter& parameter, std::uint64_t seed, double std, int tp_rank, int tp_size);

// Uniform in (-b, b), b = sqrt(6 / (fan_in + fan_out)) of the whole tensor. Only for two dims.
void fill_xavier_uniform(Parameter& parameter, std::uint64_t seed, int tp_rank, int tp_size);

// Uniform in (-bound, bound).
void fill_uniform(Parameter& parameter, std::uint64_t seed, double bound, int tp_rank, int tp_size);

// What a Mamba layer starts with (Initial::Kind::time_step, log_uniform).
void fill_time_step(Parameter& parameter, std::uint64_t seed, int tp_rank, int tp_size);
void fill_log_uniform(Parameter& parameter, std::uint64_t seed, int tp_rank, int tp_size);

void fill_constant(Parameter& parameter, double value);

// Zeros into the padding rows of a tensor that has the parameter's local shape: its value, or what an optimizer keeps
// for it.
void zero_padding(const Parameter& parameter, const at::Tensor& tensor);

}  // namespace ringtron

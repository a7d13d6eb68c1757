// A parameter's value, gradient or optimizer state as one process would hold it.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/comm/parallel_state.h"
#include "ringtron/parameter/parameter.h"

namespace ringtron {

// `local`: this rank's slice of something of the parameter's shape. Returns the whole of it, without the rows
// that only pad, as a tensor of its own on all ranks of the tensor group. Exact. Collective over that group.
at::Tensor whole_tensor(const Parameter& parameter, const at::Tensor& local, const ParallelState& parallel);

}  // namespace ringtron

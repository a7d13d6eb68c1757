// Norms over the whole model, the clipping coefficient, and what the log wants to know about gradients.
//
// Every parameter counts once: a tensor-sharded one on all ranks, a replicated one on tensor rank 0 only, a copy on
// another pipeline stage (ParameterSpec::is_copy) not at all.
// Call after the gradients are reduced. Data- and context-parallel replicas then hold equal gradients and are not asked
// again, unless each of them owns a part of the optimizer's state: then it has the gradients of that part alone, and
// the group is all of them. All ranks of the group call each function together and get the same bits, so a norm that is
// not finite is the NaN check on which they agree. Sums are in fp64 (each tensor's own norm in fp32 for fp32 tensors on
// CUDA). Results are tensors without dims on the parameters' device; the host does not wait for them on CUDA.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>

#include "ringtron/comm/communicator.h"
#include "ringtron/optim/optimizer.h"
#include "ringtron/parameter/parameter.h"

namespace ringtron {

// The ranks that hold one model between them, each element once but for replicas along the tensor axis. `tensor_rank`
// is this rank's place along the tensor axis.
struct ModelGroup {
  Communicator& group;
  int tensor_rank = 0;
};

struct ClippedScale {
  at::Tensor norm;   // fp64: L2 norm of gradient * mean_scale
  at::Tensor scale;  // fp64: mean_scale * min(1, max_norm / (norm + 1e-6)), for Optimizer::step
};

// Of the elements that `states` name. `mean_scale` turns the summed gradient into that of the mean (1 / token count);
// one element, same on all ranks, on the parameters' device. max_norm 0 means no clipping; the norm is computed all the
// same. A norm that is not finite leaves mean_scale.
ClippedScale clip_gradients(std::span<const OptimizerState> states, ModelGroup model, const at::Tensor& mean_scale,
                            double max_norm);

// L2 norm of the parameters, which each replica holds whole; fp64.
at::Tensor parameters_norm(const ParameterList& parameters, ModelGroup model);

// Gradient elements that are exactly 0, of those that `states` name; int64, on `device`, the parameters'.
at::Tensor count_zero_gradients(std::span<const OptimizerState> states, ModelGroup model, at::Device device);

}  // namespace ringtron

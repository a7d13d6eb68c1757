// Norms over the whole model, the clipping coefficient, and what the log wants to know about gradients.
//
// Every parameter counts once: a tensor-sharded one on all ranks, a replicated one on tensor rank 0 only.
// Call after the gradients are reduced; data- and context-parallel replicas then hold equal gradients and are
// not asked again. All ranks of the group call each function together and get the same bits, so a norm that
// is not finite is the NaN check on which they agree. Sums are in fp64 (each tensor's own norm in fp32 for
// fp32 tensors on CUDA). Results are tensors without dims on the parameters' device; the host does not wait
// for them on CUDA.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/comm/communicator.h"
#include "ringtron/parameter/parameter.h"

namespace ringtron {

// The ranks that hold one model between them. `tensor_rank` is this rank's place along the tensor axis.
struct ModelGroup {
  Communicator& group;
  int tensor_rank = 0;
};

struct ClippedScale {
  at::Tensor norm;   // fp64: L2 norm of gradient * mean_scale
  at::Tensor scale;  // fp64: mean_scale * min(1, max_norm / (norm + 1e-6)), for Optimizer::step
};

// `mean_scale` turns the summed gradient into that of the mean (1 / token count); one element, same on all
// ranks. max_norm 0 means no clipping; the norm is computed all the same. A norm that is not finite leaves
// mean_scale.
ClippedScale clip_gradients(const ParameterList& parameters, ModelGroup model, const at::Tensor& mean_scale,
                            double max_norm);

// L2 norm of the parameters; fp64.
at::Tensor parameters_norm(const ParameterList& parameters, ModelGroup model);

// Gradient elements that are exactly 0; int64.
at::Tensor count_zero_gradients(const ParameterList& parameters, ModelGroup model);

}  // namespace ringtron

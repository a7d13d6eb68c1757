// A named tensor of the model, the part of it that this process holds, and its gradient.
//
// Layers own Parameters and list them for the others: the optimizer updates them, data parallelism reduces
// their gradients, checkpoints write them under their logical names. None of these knows the layers.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "ringtron/parameter/parameter_spec.h"

namespace ringtron {

struct Parameter : ParameterSpec {
  Parameter() = default;
  explicit Parameter(ParameterSpec spec) : ParameterSpec(std::move(spec)) {}

  at::Tensor value;     // this rank's slice, in the compute type; requires_grad
  at::Tensor gradient;  // same shape, in the gradient type (fp32, or fp64); a view into the gradient buffer
  std::int64_t local_padding_rows = 0;  // how many padding rows this rank has: the last ones of `value`

  // `gradient` holds a sum of this step; false: nothing of use yet, and who has the first share writes over it.
  bool gradient_begun = false;
  // Set by who reduces gradients; empty: nobody does. An operation that adds its share to `gradient` itself, in the
  // kernel that makes it, calls this afterwards, in backward, instead of giving the share to autograd.
  std::function<void()> gradient_added = {};
  // Set by who brings values from other ranks; empty: they are here. See await_values().
  std::function<void()> await_value = {};
};

using ParameterList = std::vector<Parameter*>;

// Whoever reads values calls this first: with the distributed optimizer they are on their way to this rank for a while
// after a step. Returns when they may be read, on a GPU by what the current stream runs from now on. On all ranks in
// one order. Throws CommError.
inline void await_values(const ParameterList& parameters) {
  for (const Parameter* parameter : parameters)
    if (parameter->await_value) parameter->await_value();
}

}  // namespace ringtron

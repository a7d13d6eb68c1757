// A named tensor of the model, the part of it that this process holds, and its gradient.
//
// Layers own Parameters and list them for the others: the optimizer updates them, data parallelism reduces their
// gradients, checkpoints write them under their logical names. None of these knows the layers.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "ringtron/grid/rank_order.h"
#include "ringtron/grid/shard_spec.h"

namespace ringtron {

struct Parameter {
  std::string name;    // of the whole model: "decoder.layers.3.mlp.linear_fc1.weight", layers counted over all stages
  ShardSpec shard;     // global shape, and how tensor parallelism divides it
  at::Tensor value;    // this rank's slice, in the compute type; requires_grad
  at::Tensor gradient; // same shape, in the gradient type (fp32, or fp64); a view into the gradient buffer

  // The gradient that a rank computes is its share of a sum over the ranks along these axes. The tensor axis is one of them
  // where each of its ranks sees only a part of the sequence: norm weights and row-parallel biases under sequence parallelism.
  AxisSet gradient_axes = kDataContextAxes;

  // Rows of dim 0 that the model has; the rest, up to shard.global_shape[0], is padding that makes the shape divide. It
  // is zero, gets no gradient, stays zero, and is not saved. -1: no padding.
  std::int64_t real_rows = -1;
  std::int64_t padding_rows_here = 0;  // how many of them this rank has: the last ones of `value`

  bool is_sharded() const { return shard.dim >= 0; }
};

using ParameterList = std::vector<Parameter*>;

}  // namespace ringtron

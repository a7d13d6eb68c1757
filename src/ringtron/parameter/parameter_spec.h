// What a parameter is before it has values: its name, its shape and division, how it starts, how its gradient
// is summed.
//
// Modules declare their parameters as these (modules/module_spec.h). ParameterStore makes them; counts,
// memory estimates and check_cp_config read the same declarations without LibTorch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ringtron/grid/rank_order.h"
#include "ringtron/grid/shard_spec.h"

namespace ringtron {

// How a parameter starts. Values depend on (seed, name, global element index) alone, never on the layout.
struct Initial {
  enum class Kind {
    constant,
    normal,
    xavier_uniform,
    uniform,    // in (-value, value)
    time_step,  // a Mamba layer's dt_bias: softplus of it is at least 1e-4, and its logarithm uniform from 0.001 to 0.1
    log_uniform,  // a Mamba layer's A_log: the logarithm of a uniform number from 1 to 16
  } kind = Kind::constant;
  double value = 0.0;  // the constant, the standard deviation, or the bound

  static Initial constant(double value) { return {Kind::constant, value}; }
  static Initial normal(double std) { return {Kind::normal, std}; }
  static Initial uniform(double bound) { return {Kind::uniform, bound}; }
  bool operator==(const Initial&) const = default;
};

struct ParameterSpec {
  std::string name;      // of the whole model: "decoder.layers.3.mlp.linear_fc1.weight", layers counted over all stages
  ShardSpec shard = {};  // global shape, and how tensor parallelism divides it
  Initial initial = {};

  // The gradient that a rank computes is its share of a sum over the ranks along these axes. The tensor axis
  // is one of them where each of its ranks sees only a part of the sequence: norm weights and row-parallel
  // biases under sequence parallelism.
  AxisSet gradient_axes = kDataContextAxes;

  // Rows of dim 0 that the model has; the rest, up to shard.global_shape[0], is padding that makes the shape
  // divide. It is zero, gets no gradient, stays zero, and is not saved. -1: no padding.
  std::int64_t real_rows = -1;

  // Of a parameter that another rank of the pipeline has as well, under the same name: it counts in no norm or count of
  // the model, and is not saved.
  bool is_copy = false;

  bool is_sharded() const { return shard.dim >= 0; }
  std::int64_t elements() const;                   // of the whole tensor, with padding
  std::int64_t local_elements(int tp_size) const;  // of one tensor rank; ConfigError if it does not divide
  bool operator==(const ParameterSpec&) const = default;
};

using ParameterSpecs = std::vector<ParameterSpec>;

}  // namespace ringtron

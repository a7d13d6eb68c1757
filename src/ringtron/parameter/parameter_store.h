// Owns the parameters of this process's part of the model, in the order in which layers ask for them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <string>

#include "ringtron/parameter/parameter.h"

namespace ringtron {

// How a parameter starts. Values depend on (seed, name, global element index) alone, never on the layout.
struct Initial {
  enum class Kind { constant, normal, xavier_uniform } kind = Kind::constant;
  double value = 0.0;  // the constant, or the standard deviation

  static Initial constant(double value) { return {Kind::constant, value}; }
  static Initial normal(double std) { return {Kind::normal, std}; }
};

class ParameterStore {
 public:
  struct Options {
    at::ScalarType type = at::kFloat;
    at::Device device = at::kCPU;
    std::int64_t seed = 1234;
    int tp_rank = 0;
    int tp_size = 1;
  };
  explicit ParameterStore(Options options) : options_(options) {}

  // Makes, fills and keeps a parameter; the reference stays valid as long as the store. Throws ConfigError when the
  // shape cannot be divided over the tensor-parallel group, InternalError when the name is taken.
  // `real_rows`: see Parameter; rows beyond it start as zero.
  Parameter& add(std::string name, ShardSpec shard, Initial initial, std::int64_t real_rows = -1);

  ParameterList all();
  std::int64_t local_elements() const;  // for Megatron's "number of parameters" line
  const Options& options() const { return options_; }

 private:
  Options options_;
  std::deque<Parameter> parameters_;  // a deque: references survive growth
};

}  // namespace ringtron

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

// Whether a model draws its initial values when it is made, or waits for somebody who has others.
enum class InitialValues { drawn, waited_for };

class ParameterStore {
 public:
  struct Options {
    at::ScalarType type = at::kFloat;
    at::Device device = at::kCPU;
    std::int64_t seed = 1234;
    int tp_rank = 0;
    int tp_size = 1;
    InitialValues values = InitialValues::drawn;
  };
  explicit ParameterStore(Options options) : options_(options) {}

  // Makes, fills and keeps a parameter (with InitialValues::waited_for only its padding rows are filled); the reference
  // stays valid as long as the store. Throws ConfigError when the shape cannot be divided over the tensor-parallel group,
  // InternalError when the name is taken.
  // `real_rows`: see Parameter; rows beyond it start as zero.
  Parameter& add(std::string name, ShardSpec shard, Initial initial, std::int64_t real_rows = -1);

  // Fills all parameters, as add() does with InitialValues::drawn: where nobody else had values.
  void draw();

  ParameterList all();
  std::int64_t local_elements() const;  // for Megatron's "number of parameters" line
  const Options& options() const { return options_; }

 private:
  void draw(Parameter& parameter, const Initial& initial) const;

  Options options_;
  std::deque<Parameter> parameters_;  // a deque: references survive growth
  std::deque<Initial> initials_;      // of each
};

}  // namespace ringtron

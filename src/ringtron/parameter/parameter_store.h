// Owns the parameters of this process's part of the model, in the order in which layers ask for them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>

#include "ringtron/parameter/named_parameters.h"
#include "ringtron/parameter/parameter.h"

namespace ringtron {

// Whether a model draws its initial values when it is made, or waits for somebody who has others.
enum class InitialValues { drawn, deferred };

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

  // Makes, fills and keeps a parameter (with InitialValues::deferred only its padding rows are filled); the
  // reference stays valid as long as the store. Throws ConfigError when the shape cannot be divided over the
  // tensor-parallel group, InternalError when the name is taken.
  Parameter& add(ParameterSpec spec);

  // All parameters of a module, in the order of their declaration, to be found by name.
  NamedParameters add(ParameterSpecs specs);

  // Fills all parameters, as add() does with InitialValues::drawn: where nobody else had values.
  void draw();

  ParameterList all();
  std::int64_t local_elements() const;  // for Megatron's "number of parameters" line
  const Options& options() const { return options_; }

 private:
  void draw(Parameter& parameter) const;

  Options options_;
  std::deque<Parameter> parameters_;  // a deque: references survive growth
};

}  // namespace ringtron

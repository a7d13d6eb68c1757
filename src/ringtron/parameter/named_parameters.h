// The parameters of one module by name, as its constructor asks for them.
#pragma once

#include <string>
#include <string_view>

#include "ringtron/parameter/parameter.h"

namespace ringtron {

class NamedParameters {
 public:
  // The parameters outlive the modules that ask here; `prefix` stands before all names that are asked for.
  explicit NamedParameters(ParameterList list, std::string prefix = "")
      : list_(std::move(list)), prefix_(std::move(prefix)) {}

  // Those of a part of the module: within("mlp.").at("linear_fc1.weight").
  NamedParameters within(std::string_view prefix) const;

  // Null if the module declares no such parameter: one without biases.
  Parameter* find(std::string_view name) const;
  // InternalError if it declares none.
  Parameter& at(std::string_view name) const;

 private:
  ParameterList list_;
  std::string prefix_;
};

}  // namespace ringtron

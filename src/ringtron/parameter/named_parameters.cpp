#include "ringtron/parameter/named_parameters.h"

#include "ringtron/base/check.h"

namespace ringtron {

NamedParameters NamedParameters::within(std::string_view prefix) const {
  return NamedParameters(list_, prefix_ + std::string(prefix));
}

Parameter* NamedParameters::find(std::string_view name) const {
  const std::string whole = prefix_ + std::string(name);
  for (Parameter* parameter : list_) {
    if (parameter->name == whole) return parameter;
  }
  return nullptr;
}

Parameter& NamedParameters::at(std::string_view name) const {
  Parameter* parameter = find(name);
  RT_CHECK(parameter != nullptr, "expected a parameter {}{} in the module's declaration, found none", prefix_, name);
  return *parameter;
}

}  // namespace ringtron

// Variables of an environment as texts and numbers, with errors that name the variable.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "ringtron/launch/launch_environment.h"

namespace ringtron {

// The whole number, 0 or more, that variable `name` holds; ConfigError for anything else.
int parse_variable(const char* name, std::string_view text);

class EnvironmentReader {
 public:
  // `lookup` must outlive the reader.
  explicit EnvironmentReader(const EnvironmentLookup& lookup) : lookup_(lookup) {}

  bool has(const char* name) const { return lookup_(name).has_value(); }
  std::optional<std::string> text(const char* name) const { return lookup_(name); }
  std::optional<int> number(const char* name) const;

  // ConfigError if `name` is not set; `because` is the variable that makes it needed.
  int required(const char* name, const char* because) const;

  // The first of `names` that is set and not empty, or nothing.
  const char* first_set(std::initializer_list<const char*> names) const;
  std::string first_of(std::initializer_list<const char*> names) const;

 private:
  const EnvironmentLookup& lookup_;
};

}  // namespace ringtron

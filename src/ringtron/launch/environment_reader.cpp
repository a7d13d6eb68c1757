#include "ringtron/launch/environment_reader.h"

#include <fmt/format.h>

#include <charconv>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"

namespace ringtron {

int parse_variable(const char* name, std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) {
    throw ConfigError(
        fmt::format("environment variable {}: expected a whole number, got \"{}\"; unset it or start the "
                    "program through ringrun",
                    name, excerpt(text)));
  }
  return value;
}

std::optional<int> EnvironmentReader::number(const char* name) const {
  const std::optional<std::string> value = lookup_(name);
  if (!value) return std::nullopt;
  return parse_variable(name, *value);
}

int EnvironmentReader::required(const char* name, const char* because) const {
  const std::optional<int> value = number(name);
  if (!value) {
    throw ConfigError(
        fmt::format("environment variable {}: expected a number because {} is set, got nothing; start "
                    "the program through ringrun, torchrun, srun or mpirun, or unset {}",
                    name, because, because));
  }
  return *value;
}

const char* EnvironmentReader::first_set(std::initializer_list<const char*> names) const {
  for (const char* name : names) {
    if (const std::optional<std::string> value = lookup_(name); value && !value->empty()) return name;
  }
  return nullptr;
}

std::string EnvironmentReader::first_of(std::initializer_list<const char*> names) const {
  const char* name = first_set(names);
  return name == nullptr ? std::string() : *lookup_(name);
}

}  // namespace ringtron

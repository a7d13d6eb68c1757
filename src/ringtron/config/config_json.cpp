// Config to and from JSON, member by member through the option tables.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "ringtron/base/error.h"
#include "ringtron/config/config_text.h"
#include "ringtron/config/option.h"

namespace ringtron {
namespace {

using Json = nlohmann::ordered_json;

template <class T>
void read_member(const Json& json, T& field) {
  field = json.get<T>();
}

void read_member(const Json& json, std::optional<double>& field) {
  field = json.is_null() ? std::nullopt : std::optional<double>(json.get<double>());
}

template <class T>
Json write_member(const T& field) {
  return field;
}

Json write_member(const std::optional<double>& field) {
  return field ? Json(*field) : Json(nullptr);
}

}  // namespace

std::string config_to_json(const Config& config) {
  Config copy = config;  // a Field hands out mutable members
  Json json = Json::object();
  for (const OptionGroup& group : option_groups()) {
    for (const Option& option : group.options) {
      json[option_key(option)] =
          std::visit([](auto* field) { return write_member(*field); }, option.field(copy));
    }
  }
  return json.dump(2);
}

Config config_from_json(std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    throw ConfigError(
        "stored configuration: expected a JSON object, got other text; the file is damaged or foreign");
  }
  Config config;
  for (const OptionGroup& group : option_groups()) {
    for (const Option& option : group.options) {
      const auto member = json.find(option_key(option));
      if (member == json.end()) continue;
      try {
        std::visit([&](auto* field) { read_member(*member, *field); }, option.field(config));
      } catch (const Json::exception&) {
        throw ConfigError(fmt::format("stored configuration: {}: expected the type of {}, got {}",
                                      option_key(option), option.name, member->dump()));
      }
    }
  }
  return config;
}

}  // namespace ringtron

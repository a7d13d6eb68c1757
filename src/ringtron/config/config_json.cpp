// Config to JSON, member by member through the option tables.
#include <nlohmann/json.hpp>

#include "ringtron/config/config_text.h"
#include "ringtron/config/option.h"

namespace ringtron {
namespace {

using Json = nlohmann::ordered_json;

template <class T>
Json json_of(const T* field) {
  return *field;
}

Json json_of(const std::optional<double>* field) { return *field ? Json(**field) : Json(nullptr); }

Json json_of(const ChoiceRef& field) { return std::string(field.word()); }

}  // namespace

std::string config_to_json(const Config& config) {
  Config copy = config;  // a Field hands out mutable members
  Json json = Json::object();
  for (const OptionGroup& group : option_groups()) {
    for (const Option& option : group.options) {
      json[option_key(option)] =
          std::visit([](auto field) { return json_of(field); }, option.field(copy));
    }
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace);  // a path need not be UTF-8
}

}  // namespace ringtron

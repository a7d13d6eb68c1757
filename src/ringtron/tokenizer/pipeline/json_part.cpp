#include "ringtron/tokenizer/pipeline/json_part.h"

#include <fmt/format.h>

#include <limits>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"

namespace ringtron {

using nlohmann::json;

void JsonPart::refuse(const std::string& why) const { throw ConfigError(fmt::format("{}: {}", place_, why)); }

void JsonPart::refuse_type(const char* expected) const {
  refuse(fmt::format(
      "expected {}, got {}", expected,
      value_->is_structured() ? fmt::format("an {}", value_->type_name()) : excerpt(value_->dump(-1, ' ', true), 60)));
}

void JsonPart::refuse_kind(std::string_view built) const {
  refuse(fmt::format("the kind '{}' is not built; those that are: {}", excerpt(text("type"), 60), built));
}

bool JsonPart::has(const char* key) const {
  if (!value_->is_object()) return false;
  const auto found = value_->find(key);
  return found != value_->end() && !found->is_null();
}

JsonPart JsonPart::at(const char* key) const {
  if (!value_->is_object()) refuse_type("an object");
  const auto found = value_->find(key);
  if (found == value_->end()) refuse(fmt::format("it has no '{}'", key));
  return {*found, fmt::format("{}{}{}", place_, place_.ends_with(": ") || place_.empty() ? "" : ".", key)};
}

std::vector<JsonPart> JsonPart::items() const {
  if (!value_->is_array()) refuse_type("an array");
  std::vector<JsonPart> parts;
  parts.reserve(value_->size());
  for (std::size_t i = 0; i < value_->size(); ++i) parts.emplace_back((*value_)[i], fmt::format("{}[{}]", place_, i));
  return parts;
}

std::string JsonPart::text() const {
  if (!value_->is_string()) refuse_type("a string");
  return value_->get<std::string>();
}

std::int32_t JsonPart::id() const {
  if (!value_->is_number_integer() && !value_->is_number_unsigned()) refuse_type("a token's id");
  const auto id = value_->get<std::int64_t>();
  if (id < 0 || id >= std::numeric_limits<std::int32_t>::max()) refuse_type("a token's id");
  return static_cast<std::int32_t>(id);
}

std::string JsonPart::text_or(const char* key, const std::string& otherwise) const {
  return has(key) ? text(key) : otherwise;
}

bool JsonPart::flag_or(const char* key, bool otherwise) const {
  if (!has(key)) return otherwise;
  const JsonPart part = at(key);
  if (!part.value_->is_boolean()) part.refuse_type("true or false");
  return part.value_->get<bool>();
}

std::int64_t JsonPart::number_or(const char* key, std::int64_t otherwise) const {
  if (!has(key)) return otherwise;
  const JsonPart part = at(key);
  if (!part.value_->is_number_integer()) part.refuse_type("an integer");
  return part.value_->get<std::int64_t>();
}

json parse_json_file(const std::string& content, const std::string& place) {
  try {
    return json::parse(content);
  } catch (const json::exception& e) {
    const auto* syntax = dynamic_cast<const json::parse_error*>(&e);
    throw ConfigError(content.empty() ? fmt::format("{}: expected JSON, but the file is empty", place)
                      : syntax == nullptr
                          ? fmt::format("{}: expected JSON, but a number in it is out of range", place)
                          : fmt::format("{}: expected JSON, but the file is cut off or no JSON, at byte {} of {}",
                                        place, syntax->byte, content.size()));
  }
}

}  // namespace ringtron

// One place of a JSON file, with the words for messages about it: what a tokenizer.json holds is read through these,
// and what is missing, of another type or of a kind that is not built is refused by its place.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace ringtron {

// Refers to the document, which must outlive it. Every function but the first two throws ConfigError.
class JsonPart {
 public:
  JsonPart(const nlohmann::json& value, std::string place) : value_(&value), place_(std::move(place)) {}

  const nlohmann::json& value() const { return *value_; }
  bool has(const char* key) const;  // and is not null

  JsonPart at(const char* key) const;   // of an object
  std::vector<JsonPart> items() const;  // of an array
  std::vector<JsonPart> items(const char* key) const { return at(key).items(); }

  std::string text() const;
  std::int32_t id() const;  // a token's: 0 or more
  std::string text(const char* key) const { return at(key).text(); }
  std::string text_or(const char* key, const std::string& otherwise) const;
  bool flag_or(const char* key, bool otherwise) const;
  std::int64_t number_or(const char* key, std::int64_t otherwise) const;

  // "FILE: model.vocab: WHY"
  [[noreturn]] void refuse(const std::string& why) const;
  // "... the kind X is not built; those that are: Y"
  [[noreturn]] void refuse_kind(std::string_view built) const;

 private:
  [[noreturn]] void refuse_type(const char* expected) const;

  const nlohmann::json* value_;
  std::string place_;
};

// The document of a file, parsed. Throws ConfigError: `option` and the path, and what is wrong with it.
nlohmann::json parse_json_file(const std::string& content, const std::string& place);

}  // namespace ringtron

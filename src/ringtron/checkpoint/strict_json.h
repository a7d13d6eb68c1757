// JSON read without forgiveness: a value of another type, a number that does not fit, a key that stands twice are
// errors with a name, never a value that was meant otherwise.
//
// All throw IoError with what was expected and what is there; `where` names the object ("tensors.w.pieces[1]"). The
// caller adds the file.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace ringtron {

// Refuses bad syntax, keys that stand twice in one object, and nesting deeper than any manifest's.
nlohmann::json parse_strict(std::string_view text);

// For messages: one short line of ASCII.
std::string shown(const nlohmann::json& value);

// The member of an object; refuses a `value` that is no object.
const nlohmann::json& member(const nlohmann::json& value, const char* name, const std::string& where);

const nlohmann::json& object_member(const nlohmann::json& value, const char* name, const std::string& where);
const nlohmann::json& array_member(const nlohmann::json& value, const char* name, const std::string& where);
std::string text_member(const nlohmann::json& value, const char* name, const std::string& where);
bool bool_member(const nlohmann::json& value, const char* name, const std::string& where);
std::int64_t integer(const nlohmann::json& value, const std::string& where, std::int64_t at_least,
                     std::int64_t at_most = std::numeric_limits<std::int64_t>::max());
// From 0 to `at_most`.
std::int64_t count_member(const nlohmann::json& value, const char* name, const std::string& where,
                          std::int64_t at_most = std::numeric_limits<std::int64_t>::max());

}  // namespace ringtron

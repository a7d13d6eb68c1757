#include "ringtron/checkpoint/strict_json.h"

#include <fmt/format.h>

#include <set>
#include <vector>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

using Json = nlohmann::json;

constexpr int kDeepest = 32;

std::string name_of(const std::string& where, const char* name) {
  return where.empty() ? std::string(name) : where + "." + name;
}

[[noreturn]] void unexpected(const std::string& where, const std::string& expected, const Json& got) {
  throw IoError(fmt::format("{}: expected {}, got {}", where, expected, shown(got)));
}

}  // namespace

Json parse_strict(std::string_view text) {
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kDeepest) throw IoError(fmt::format("it is nested deeper than {} levels", kDeepest));
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second) {
      throw IoError(fmt::format("the key {} stands twice in one object", shown(parsed)));
    }
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const Json::exception& e) {
    throw IoError(e.what());
  }
}

std::string shown(const Json& value) {
  constexpr std::size_t kLongest = 120;
  if (value.is_object() && !value.empty()) return fmt::format("an object of {} members", value.size());
  if (value.is_array() && !value.empty()) return fmt::format("a list of {}", value.size());
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

const Json& member(const Json& value, const char* name, const std::string& where) {
  if (!value.is_object()) unexpected(where.empty() ? "the text" : where, "an object", value);
  const auto found = value.find(name);
  if (found == value.end()) throw IoError(fmt::format("{} is missing", name_of(where, name)));
  return *found;
}

const Json& object_member(const Json& value, const char* name, const std::string& where) {
  const Json& found = member(value, name, where);
  if (!found.is_object()) unexpected(name_of(where, name), "an object", found);
  return found;
}

const Json& array_member(const Json& value, const char* name, const std::string& where) {
  const Json& found = member(value, name, where);
  if (!found.is_array()) unexpected(name_of(where, name), "a list", found);
  return found;
}

std::string text_member(const Json& value, const char* name, const std::string& where) {
  const Json& found = member(value, name, where);
  if (!found.is_string()) unexpected(name_of(where, name), "a text", found);
  return found.get<std::string>();
}

bool bool_member(const Json& value, const char* name, const std::string& where) {
  const Json& found = member(value, name, where);
  if (!found.is_boolean()) unexpected(name_of(where, name), "true or false", found);
  return found.get<bool>();
}

std::int64_t integer(const Json& value, const std::string& where, std::int64_t at_least, std::int64_t at_most) {
  const bool fits = value.is_number_integer() &&
                    (!value.is_number_unsigned() ||
                     value.get<std::uint64_t>() <= std::uint64_t{std::numeric_limits<std::int64_t>::max()});
  if (!fits || value.get<std::int64_t>() < at_least || value.get<std::int64_t>() > at_most) {
    const bool open = at_most == std::numeric_limits<std::int64_t>::max();
    unexpected(where,
               open ? fmt::format("a whole number from {} on", at_least)
                    : fmt::format("a whole number from {} to {}", at_least, at_most),
               value);
  }
  return value.get<std::int64_t>();
}

std::int64_t count_member(const Json& value, const char* name, const std::string& where, std::int64_t at_most) {
  return integer(member(value, name, where), name_of(where, name), 0, at_most);
}

}  // namespace ringtron

#include "ringtron/tools/take_flag.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"

namespace ringtron {
namespace {

bool is_called(std::string word, std::string_view name) {
  word.resize(std::min(word.find('='), word.size()));
  std::replace(word.begin(), word.end(), '_', '-');
  return word == name;
}

[[noreturn]] void refuse(std::string_view name, std::string_view expected, const std::string& got) {
  throw ConfigError(fmt::format("{}: expected {}, got '{}'. See --help", name, expected, excerpt(got)));
}

template <class Number>
std::optional<Number> number_in(const std::string& text) {
  Number value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<std::string> take_flag(std::vector<std::string>& words, std::string_view name) {
  std::optional<std::string> value;
  for (std::size_t i = 0; i < words.size();) {
    if (!words[i].starts_with("--") || !is_called(words[i], name)) {
      ++i;
      continue;
    }
    const std::size_t equals = words[i].find('=');
    const bool separate = equals == std::string::npos;
    if (separate && (i + 1 == words.size() || words[i + 1].starts_with("--"))) {
      throw ConfigError(fmt::format("{}: expected a value behind it, got nothing. See --help", name));
    }
    value = separate ? words[i + 1] : words[i].substr(equals + 1);
    const auto at = words.begin() + static_cast<std::ptrdiff_t>(i);
    words.erase(at, at + (separate ? 2 : 1));
  }
  return value;
}

std::optional<int> take_count(std::vector<std::string>& words, std::string_view name, int least) {
  const std::optional<std::string> text = take_flag(words, name);
  if (!text) return std::nullopt;
  const std::optional<int> value = number_in<int>(*text);
  if (!value || *value < least) refuse(name, fmt::format("a whole number of at least {}", least), *text);
  return value;
}

std::optional<double> take_positive(std::vector<std::string>& words, std::string_view name) {
  const std::optional<std::string> text = take_flag(words, name);
  if (!text) return std::nullopt;
  const std::optional<double> value = number_in<double>(*text);
  if (!value || !std::isfinite(*value) || *value <= 0.0) refuse(name, "a number above 0", *text);
  return value;
}

}  // namespace ringtron

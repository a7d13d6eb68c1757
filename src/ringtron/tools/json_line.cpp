#include "ringtron/tools/json_line.h"

#include <fmt/format.h>

#include <utility>

#include "ringtron/base/text.h"
#include "ringtron/tools/json_scanner.h"

namespace ringtron {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

// What `value` is, by its first character.
const char* kind_of(std::string_view value) {
  switch (value.front()) {
    case '{':
      return "an object";
    case 't':
    case 'f':
      return "true or false";
    case 'n':
      return "null";
    case '[':
      return "a list of other things than text";
    case '"':
      return "text";
    default:
      return "a number";
  }
}

}  // namespace

std::string describe_lone_surrogates(std::int64_t count) {
  return fmt::format(
      "{} times a half of a surrogate pair (\\ud800 to \\udfff) stands alone in the text; read as U+FFFD", count);
}

JsonLine::JsonLine(std::vector<std::string> keys) : keys_(std::move(keys)), found_(keys_.size()) {}

void JsonLine::note(std::string_view written_key, std::string_view value) {
  std::string_view key = written_key;
  if (key.find('\\') != std::string_view::npos) {
    key_.clear();
    if (append_unescaped(written_key, key_) > 0) return;  // no key of a command line
    key = key_;
  }
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    if (keys_[i] == key) found_[i].value = value;
  }
}

void JsonLine::take(Found& found, const std::string& key) {
  const auto fail = [&] {
    throw JsonFault{0, fmt::format("expected text under the key \"{}\", which is {}", excerpt(key),
                                   found.value.empty() ? "missing" : kind_of(found.value))};
  };
  if (found.value.empty()) fail();
  const auto add = [&](std::string_view written) {
    if (found.count == found.texts.size()) found.texts.emplace_back();
    std::string& text = found.texts[found.count++];
    text.clear();
    lone_surrogates_ += append_unescaped(written, text);
  };
  JsonScanner scanner(found.value, open_);
  if (scanner.next() == '"') {
    add(scanner.skip_string());
    return;
  }
  if (!scanner.skip('[')) fail();
  scanner.skip_space();
  if (scanner.skip(']')) return;
  do {
    scanner.skip_space();
    if (scanner.next() != '"') fail();
    add(scanner.skip_string());
    scanner.skip_space();
  } while (scanner.skip(','));
}

bool JsonLine::read(std::string_view line) {
  fault_.clear();
  lone_surrogates_ = 0;
  for (Found& found : found_) found.value = {}, found.count = 0;
  if (line.starts_with(kByteOrderMark)) line.remove_prefix(kByteOrderMark.size());
  JsonScanner scanner(line, open_);
  try {
    scanner.skip_space();
    if (!scanner.skip('{')) {
      fault_ = fmt::format("expected a JSON object, got '{}'", excerpt(line, 40));
      return false;
    }
    scanner.skip_space();
    bool more = !scanner.skip('}');
    while (more) {
      scanner.skip_space();
      if (scanner.next() != '"') scanner.fail("expected a key in quotes");
      const std::string_view key = scanner.skip_string();
      scanner.skip_space();
      scanner.expect(':');
      note(key, scanner.skip_value());
      scanner.skip_space();
      more = scanner.skip(',');
      if (!more && !scanner.skip('}')) scanner.fail("expected ',' or '}'");
    }
    scanner.skip_space();
    if (!scanner.at_end()) scanner.fail("something stands behind the object");
  } catch (const JsonFault& fault) {
    fault_ = fmt::format("expected a JSON object, but at byte {} of the line: {}", fault.at + 1, fault.what);
    return false;
  }
  try {
    for (std::size_t i = 0; i < keys_.size(); ++i) take(found_[i], keys_[i]);
  } catch (const JsonFault& fault) {
    fault_ = fault.what;
    for (Found& found : found_) found.count = 0;
    return false;
  }
  return true;
}

}  // namespace ringtron

#include "ringtron/tools/json_scanner.h"

#include <cstring>

#include "ringtron/base/text.h"

namespace ringtron {
namespace {

constexpr std::uint64_t kOnes = 0x0101010101010101, kHighs = 0x8080808080808080;

// Whether one of eight bytes may be a quote, a backslash, a control character or not ASCII. Never misses one.
bool has_special(const char* eight) {
  std::uint64_t word;
  std::memcpy(&word, eight, sizeof word);
  const auto zero_byte = [](std::uint64_t w) { return (w - kOnes) & ~w; };
  const std::uint64_t quote = zero_byte(word ^ ('"' * kOnes)), backslash = zero_byte(word ^ ('\\' * kOnes));
  const std::uint64_t control = (word - 0x20 * kOnes) & ~word;
  return ((quote | backslash | control | word) & kHighs) != 0;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The four hexadecimal digits at the beginning of `text`; -1 if they are not there.
int code_unit(std::string_view text) {
  if (text.size() < 4) return -1;
  int value = 0;
  for (const char c : text.substr(0, 4)) {
    const int digit = hex_digit(c);
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

void append_utf8(std::uint32_t code, std::string& out) {
  if (code < 0x80) {
    out += static_cast<char>(code);
    return;
  }
  if (code < 0x800) {
    out += static_cast<char>(0xc0 | code >> 6);
  } else {
    if (code < 0x10000) {
      out += static_cast<char>(0xe0 | code >> 12);
    } else {
      out += static_cast<char>(0xf0 | code >> 18);
      out += static_cast<char>(0x80 | (code >> 12 & 0x3f));
    }
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
  }
  out += static_cast<char>(0x80 | (code & 0x3f));
}

char meaning(char escape) {
  switch (escape) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return escape;
  }
}

}  // namespace

void JsonScanner::skip_space() {
  while (next() == ' ' || next() == '\t' || next() == '\n' || next() == '\r') ++at_;
}

bool JsonScanner::skip(char c) {
  if (at_end() || text_[at_] != c) return false;
  ++at_;
  return true;
}

void JsonScanner::expect(char c) {
  if (!skip(c)) fail(std::string("expected '") + c + "'");
}

void JsonScanner::skip_escape() {
  if (at_ + 1 >= text_.size()) fail("the string does not end");
  const char kind = text_[at_ + 1];
  if (kind == 'u') {
    if (code_unit(text_.substr(at_ + 2)) < 0) fail("\\u without four hexadecimal digits");
    at_ += 6;
  } else {
    if (std::string_view("\"\\/bfnrt").find(kind) == std::string_view::npos) fail("a backslash before no escape");
    at_ += 2;
  }
}

std::string_view JsonScanner::skip_string() {
  expect('"');
  const std::size_t begin = at_;
  while (true) {
    while (at_ + 8 <= text_.size() && !has_special(text_.data() + at_)) at_ += 8;
    if (at_end()) fail("the string does not end");
    const auto c = static_cast<unsigned char>(text_[at_]);
    if (c == '"') {
      ++at_;
      return text_.substr(begin, at_ - 1 - begin);
    }
    if (c == '\\') {
      skip_escape();
    } else if (c < 0x20) {
      fail("a control character inside a string");
    } else {
      const std::size_t length = utf8_character(text_.substr(at_, 4));
      if (length == 0) fail("a byte that is no UTF-8");
      at_ += length;
    }
  }
}

bool JsonScanner::skip_digits() {
  const std::size_t begin = at_;
  while (next() >= '0' && next() <= '9') ++at_;
  return at_ > begin;
}

void JsonScanner::skip_number() {
  skip('-');
  if (!skip('0') && !skip_digits()) fail("expected a value");
  if (skip('.') && !skip_digits()) fail("expected digits behind the point");
  if (skip('e') || skip('E')) {
    if (!skip('+')) skip('-');
    if (!skip_digits()) fail("expected digits of an exponent");
  }
}

void JsonScanner::skip_scalar() {
  if (next() == '"') {
    skip_string();
    return;
  }
  for (const std::string_view word : {"null", "true", "false", "NaN", "Infinity", "-Infinity"}) {
    if (text_.substr(at_, word.size()) == word) {
      at_ += word.size();
      return;
    }
  }
  skip_number();
}

void JsonScanner::skip_key() {
  skip_space();
  if (next() != '"') fail("expected a key in quotes");
  skip_string();
  skip_space();
  expect(':');
}

bool JsonScanner::skip_to_next_value() {
  while (!open_.empty()) {
    skip_space();
    if (skip(',')) {
      if (open_.back() == '}') skip_key();
      return true;
    }
    if (!skip(open_.back())) fail(std::string("expected ',' or '") + open_.back() + "'");
    open_.pop_back();
  }
  return false;
}

bool JsonScanner::enter() {
  if (skip('{')) {
    skip_space();
    if (skip('}')) return false;
    open_.push_back('}');
    skip_key();
    return true;
  }
  if (skip('[')) {
    skip_space();
    if (skip(']')) return false;
    open_.push_back(']');
    return true;
  }
  skip_scalar();
  return false;
}

std::string_view JsonScanner::skip_value() {
  open_.clear();
  skip_space();
  const std::size_t begin = at_;
  do {
    skip_space();
    while (enter()) skip_space();
  } while (skip_to_next_value());
  return text_.substr(begin, at_ - begin);
}

std::int64_t append_unescaped(std::string_view written, std::string& out) {
  std::int64_t lone = 0;
  while (true) {
    const std::size_t escape = written.find('\\');
    out += written.substr(0, escape);
    if (escape == std::string_view::npos) return lone;
    const char kind = written[escape + 1];
    written.remove_prefix(escape + 2);
    if (kind != 'u') {
      out += meaning(kind);
      continue;
    }
    auto code = static_cast<std::uint32_t>(code_unit(written));
    written.remove_prefix(4);
    const int second = written.starts_with("\\u") ? code_unit(written.substr(2)) : -1;
    if (code >= 0xd800 && code < 0xdc00 && second >= 0xdc00 && second < 0xe000) {
      code = 0x10000 + ((code - 0xd800) << 10) + static_cast<std::uint32_t>(second - 0xdc00);
      written.remove_prefix(6);
    } else if (code >= 0xd800 && code < 0xe000) {
      code = 0xfffd;
      ++lone;
    }
    append_utf8(code, out);
  }
}

}  // namespace ringtron

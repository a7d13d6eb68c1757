// UTF-8 of texts that are known to be valid, and how others are made so.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ringtron {

// Bytes of the character that begins with `first`. Requires: it begins one of a valid text.
constexpr std::size_t utf8_length(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

// The code point of the character at byte `i`, on the same condition.
constexpr char32_t utf8_code_point(std::string_view text, std::size_t i) {
  const std::size_t length = utf8_length(text[i]);
  const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[i + k]); };
  if (length == 1) return byte(0);
  char32_t code_point = byte(0) & (0x7F >> length);
  for (std::size_t k = 1; k < length; ++k) code_point = code_point << 6 | (byte(k) & 0x3F);
  return code_point;
}

void append_utf8(char32_t code_point, std::string& text);

// `text` if it is valid UTF-8, else `storage`, which gets it with U+FFFD for each byte that is none.
std::string_view valid_utf8(std::string_view text, std::string& storage);

}  // namespace ringtron

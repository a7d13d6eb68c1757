#include "ringtron/tokenizer/pipeline/utf8.h"

#include <cstdint>
#include <cstring>

#include "ringtron/base/text.h"

namespace ringtron {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// The first byte that is not part of a valid character, or the end.
std::size_t valid_end(std::string_view text, std::size_t i) {
  constexpr std::uint64_t kHighBits = 0x8080808080808080;
  while (i < text.size()) {
    std::uint64_t eight = 0;
    while (text.size() - i >= sizeof eight) {
      std::memcpy(&eight, text.data() + i, sizeof eight);
      if ((eight & kHighBits) != 0) break;
      i += sizeof eight;
    }
    if (i >= text.size()) break;
    const std::size_t length = static_cast<signed char>(text[i]) >= 0 ? 1 : utf8_character(text.substr(i));
    if (length == 0) return i;
    i += length;
  }
  return i;
}

}  // namespace

void append_utf8(char32_t code_point, std::string& text) {
  const auto tail = [&](int shift) { text += static_cast<char>(0x80 | (code_point >> shift & 0x3F)); };
  if (code_point < 0x80) {
    text += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    text += static_cast<char>(0xC0 | code_point >> 6);
    tail(0);
  } else if (code_point < 0x10000) {
    text += static_cast<char>(0xE0 | code_point >> 12);
    tail(6), tail(0);
  } else {
    text += static_cast<char>(0xF0 | code_point >> 18);
    tail(12), tail(6), tail(0);
  }
}

std::string_view valid_utf8(std::string_view text, std::string& storage) {
  std::size_t end = valid_end(text, 0);
  if (end == text.size()) return text;
  storage.clear();
  std::size_t begin = 0;
  while (true) {
    storage += text.substr(begin, end - begin);
    if (end == text.size()) return storage;
    storage += kReplacement;
    begin = end + 1;
    end = valid_end(text, begin);
  }
}

}  // namespace ringtron

#include "ringtron/tokenizer/byte_to_unicode.h"

#include <algorithm>

namespace ringtron {
namespace {

constexpr bool stands_for_itself(int byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
}

constexpr int kCharacters = 256 + 68;

struct Alphabet {
  std::array<int, 256> character{};     // of a byte
  std::array<int, kCharacters> byte{};  // of a character, -1 if none
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  for (int& byte : alphabet.byte) byte = -1;
  int next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    alphabet.character[byte] = stands_for_itself(byte) ? byte : next++;
    alphabet.byte[alphabet.character[byte]] = byte;
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

std::array<unsigned char, 256> bytes_in_character_order() {
  std::array<unsigned char, 256> bytes{};
  for (int byte = 0; byte < 256; ++byte) bytes[byte] = static_cast<unsigned char>(byte);
  std::sort(bytes.begin(), bytes.end(),
            [](unsigned char a, unsigned char b) { return kAlphabet.character[a] < kAlphabet.character[b]; });
  return bytes;
}

std::string printable_from_bytes(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const int character = kAlphabet.character[static_cast<unsigned char>(c)];
    if (character < 0x80) {
      text += static_cast<char>(character);
    } else {
      text += static_cast<char>(0xC0 | (character >> 6));
      text += static_cast<char>(0x80 | (character & 0x3F));
    }
  }
  return text;
}

std::optional<std::string> bytes_from_printable(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    int character = static_cast<unsigned char>(text[i]);
    if (character >= 0x80) {
      if ((character & 0xE0) != 0xC0 || i + 1 == text.size()) return std::nullopt;
      character = (character & 0x1F) << 6 | (static_cast<unsigned char>(text[++i]) & 0x3F);
    }
    if (character >= kCharacters || kAlphabet.byte[character] < 0) return std::nullopt;
    bytes += static_cast<char>(kAlphabet.byte[character]);
  }
  return bytes;
}

}  // namespace ringtron

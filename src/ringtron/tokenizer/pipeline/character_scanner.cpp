#include "ringtron/tokenizer/pipeline/character_scanner.h"

#include <vector>

#include "ringtron/tokenizer/pipeline/unicode_cases.h"
#include "ringtron/tokenizer/unicode_ranges.h"

namespace ringtron {
namespace {

constexpr char32_t kSpaces[] = {0x09,   0x0A,   0x0B,   0x0C,   0x0D,   0x20,   0x85,   0xA0,   0x1680,
                                0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008,
                                0x2009, 0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000};
constexpr std::uint8_t kBothCases = kUpperBit | kLowerBit;
// The marks above the table: variation selectors.
constexpr char32_t kFirstSelector = 0xE0100, kLastSelector = 0xE01EF;
constexpr Character kStrayByte = {static_cast<std::uint8_t>(CharacterKind::other), 1};

std::vector<std::uint8_t> make_table() {
  std::vector<std::uint8_t> table(kTableEnd, static_cast<std::uint8_t>(CharacterKind::other));
  const auto with = [](CharacterKind kind, std::uint8_t bits) { return static_cast<std::uint8_t>(kind) | bits; };
  for (const CodePointRange& range : kLetterRanges) {
    for (char32_t c = range.first; c <= range.last; ++c) table.at(c) = with(CharacterKind::letter, kBothCases);
  }
  for (const CodePointRow& row : kUpperRows) {
    for (char32_t c = row.first; c <= row.last; c += row.step) table.at(c) = with(CharacterKind::letter, kUpperBit);
  }
  for (const CodePointRow& row : kLowerRows) {
    for (char32_t c = row.first; c <= row.last; c += row.step) table.at(c) = with(CharacterKind::letter, kLowerBit);
  }
  for (const CodePointRange& range : kNumberRanges) {
    for (char32_t c = range.first; c <= range.last; ++c) table.at(c) = with(CharacterKind::number, 0);
  }
  for (const CodePointRange& range : kMarkRanges) {
    for (char32_t c = range.first; c <= range.last && c < kTableEnd; ++c)
      table[c] = with(CharacterKind::other, kBothCases);
  }
  for (const char32_t c : kSpaces) table.at(c) = with(CharacterKind::space, 0);
  return table;
}

}  // namespace

const std::uint8_t* character_table() {
  static const std::vector<std::uint8_t> table = make_table();
  return table.data();
}

// Well-formed sequences only (table 3-7 of the Unicode standard): no overlong forms, no surrogates, none
// above U+10FFFF.
Character CharacterScanner::multibyte(std::size_t i, unsigned char first) const {
  const std::size_t length = first < 0xC2 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 1;
  if (length == 1 || text_.size() - i < length) return kStrayByte;
  char32_t code_point = first & (0x7F >> length);
  for (std::size_t k = 1; k < length; ++k) {
    const auto next = static_cast<unsigned char>(text_[i + k]);
    if ((next & 0xC0) != 0x80) return kStrayByte;
    code_point = code_point << 6 | (next & 0x3F);
  }
  if (length == 3 && (code_point < 0x800 || (code_point >= 0xD800 && code_point < 0xE000))) return kStrayByte;
  if (length == 4 && (code_point < 0x10000 || code_point > 0x10FFFF)) return kStrayByte;
  if (code_point < kTableEnd) return {table_[code_point], length};
  const bool selector = code_point >= kFirstSelector && code_point <= kLastSelector;
  return {selector ? kBothCases : std::uint8_t{0}, length};
}

}  // namespace ringtron

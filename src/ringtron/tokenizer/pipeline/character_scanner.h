// Reads the characters of a text one by one with what the patterns of tokenizers ask of them: letter, number or space,
// and case. Those of Unicode 16.0 whatever the system's libraries know, so the ids do not depend on the machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ringtron {

enum class CharacterKind : std::uint8_t { other, letter, number, space };

// One byte of a table: the kind in the two lower bits, then whether a word may begin with it as a capital
// (Lu, Lt, Lm, Lo, M) and go on with it as a small letter (Ll, Lm, Lo, M).
inline constexpr std::uint8_t kKindBits = 3, kUpperBit = 4, kLowerBit = 8;

// Above the last letter and the last number: one byte each below it is 200 KiB, of which a text touches little.
inline constexpr char32_t kTableEnd = 0x32400;

const std::uint8_t* character_table();  // of kTableEnd entries

struct Character {
  std::uint8_t bits;
  std::size_t length;  // in bytes

  CharacterKind kind() const { return static_cast<CharacterKind>(bits & kKindBits); }
};

// A byte that belongs to no valid UTF-8 character counts as a character that is neither letter, number nor space.
class CharacterScanner {
 public:
  explicit CharacterScanner(std::string_view text) : text_(text), table_(character_table()) {}

  std::string_view text() const { return text_; }
  bool at_end(std::size_t i) const { return i >= text_.size(); }

  bool is_ascii_letter(std::size_t i) const {
    if (at_end(i)) return false;
    const auto small = static_cast<unsigned char>(text_[i] | 0x20);
    return small >= 'a' && small <= 'z';
  }

  // The character at byte `i`, which is not the end.
  Character at(std::size_t i) const {
    const unsigned char first = static_cast<unsigned char>(text_[i]);
    if (first < 0x80) return {table_[first], 1};
    return multibyte(i, first);
  }

  // The end of the run of characters of one kind that begins at `i`.
  std::size_t run_end(std::size_t i, CharacterKind kind) const {
    while (!at_end(i)) {
      const Character c = at(i);
      if (c.kind() != kind) break;
      i += c.length;
    }
    return i;
  }

  // The end of the run of characters that have one of `bits`.
  std::size_t bits_end(std::size_t i, std::uint8_t bits) const {
    while (!at_end(i)) {
      const Character c = at(i);
      if ((c.bits & bits) == 0) break;
      i += c.length;
    }
    return i;
  }

  // The end of the word of white space that begins at `i`. Before another character the last space is left over.
  std::size_t space_word_end(std::size_t i) const {
    std::size_t last = i, end = i;
    while (!at_end(end)) {
      const Character c = at(end);
      if (c.kind() != CharacterKind::space) return last > i ? last : end;
      last = end;
      end += c.length;
    }
    return end;
  }

 private:
  Character multibyte(std::size_t i, unsigned char first) const;

  std::string_view text_;
  const std::uint8_t* table_;
};

}  // namespace ringtron

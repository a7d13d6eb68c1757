#include "ringtron/tokenizer/pre_tokenizer.h"

#include <cstdint>
#include <vector>

#include "ringtron/tokenizer/unicode_ranges.h"

namespace ringtron {
namespace {

enum class Class : std::uint8_t { other, letter, number, space };

constexpr char32_t kSpaces[] = {0x09,   0x0A,   0x0B,   0x0C,   0x0D,   0x20,   0x85,   0xA0,   0x1680,
                                0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008,
                                0x2009, 0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000};

// Above the last letter everything is `other`: one byte each below it is 200 KiB, of which a text touches
// little.
constexpr char32_t kClassedEnd = 0x32400;

const std::vector<Class>& class_table() {
  static const std::vector<Class> table = [] {
    std::vector<Class> classes(kClassedEnd, Class::other);
    for (const CodePointRange& range : kLetterRanges) {
      for (char32_t c = range.first; c <= range.last; ++c) classes.at(c) = Class::letter;
    }
    for (const CodePointRange& range : kNumberRanges) {
      for (char32_t c = range.first; c <= range.last; ++c) classes.at(c) = Class::number;
    }
    for (const char32_t c : kSpaces) classes.at(c) = Class::space;
    return classes;
  }();
  return table;
}

struct Character {
  Class kind;
  std::size_t length;  // in bytes
};

constexpr Character kStrayByte = {Class::other, 1};

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text), classes_(class_table().data()) {}

  bool at_end(std::size_t i) const { return i >= text_.size(); }

  // The character at byte `i`, which is not the end.
  Character at(std::size_t i) const {
    const unsigned char first = byte(i);
    if (first < 0x80) return {classes_[first], 1};
    return multibyte(i, first);
  }

  // The end of the run of characters of one kind that begins at `i`.
  std::size_t run_end(std::size_t i, Class kind) const {
    while (!at_end(i)) {
      const Character c = at(i);
      if (c.kind != kind) break;
      i += c.length;
    }
    return i;
  }

  // The word of white space that begins at 0. Before another character the last space is left over: it
  // belongs to the next word if it is U+0020, and is a word of its own otherwise.
  std::size_t space_word() const {
    std::size_t last = 0, end = 0;
    while (!at_end(end)) {
      const Character c = at(end);
      if (c.kind != Class::space) return last > 0 ? last : end;
      last = end;
      end += c.length;
    }
    return end;
  }

  // Length of 's 't 're 've 'm 'll 'd at 0; 0 if there is none.
  std::size_t contraction() const {
    if (text_.size() < 2 || text_[0] != '\'') return 0;
    const char a = text_[1];
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if (text_.size() < 3) return 0;
    const char b = text_[2];
    return ((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
  }

 private:
  unsigned char byte(std::size_t i) const { return static_cast<unsigned char>(text_[i]); }

  // Well-formed sequences only (table 3-7 of the Unicode standard): no overlong forms, no surrogates, none
  // above U+10FFFF.
  Character multibyte(std::size_t i, unsigned char first) const {
    const std::size_t length = first < 0xC2 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 1;
    if (length == 1 || text_.size() - i < length) return kStrayByte;
    char32_t code_point = first & (0x7F >> length);
    for (std::size_t k = 1; k < length; ++k) {
      const unsigned char next = byte(i + k);
      if ((next & 0xC0) != 0x80) return kStrayByte;
      code_point = code_point << 6 | (next & 0x3F);
    }
    if (length == 3 && (code_point < 0x800 || (code_point >= 0xD800 && code_point < 0xE000))) return kStrayByte;
    if (length == 4 && (code_point < 0x10000 || code_point > 0x10FFFF)) return kStrayByte;
    return {code_point < kClassedEnd ? classes_[code_point] : Class::other, length};
  }

  std::string_view text_;
  const Class* classes_;
};

}  // namespace

std::size_t first_word_length(std::string_view text) {
  const Scanner scanner(text);
  if (const std::size_t length = scanner.contraction()) return length;
  std::size_t begin = 0;
  if (text[0] == ' ' && text.size() > 1 && scanner.at(1).kind != Class::space) begin = 1;
  const Class kind = scanner.at(begin).kind;
  return kind == Class::space ? scanner.space_word() : scanner.run_end(begin, kind);
}

}  // namespace ringtron

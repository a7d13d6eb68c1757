#include "ringtron/tokenizer/pipeline/word_rules.h"

namespace ringtron {
namespace {

struct KnownPattern {
  std::string_view text;
  WordRules rules;
};

constexpr KnownPattern kKnown[] = {
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     kLlama3Words},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     kQwen2Words},
    {R"([^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)", kTikTokenV1Words},
    {R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
     R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|)"
     R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     kTikTokenV2Words},
    {R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
     R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
     R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     kGpt4oWords},
};

// The end of 's 't 're 've 'm 'll 'd in any case at `i`; `i` if there is none. U+017F is a small s in any case.
std::size_t contraction_end(std::string_view text, std::size_t i) {
  if (text.size() - i < 2 || text[i] != '\'') return i;
  const std::string_view rest = text.substr(i + 1);
  if (rest.starts_with("\xC5\xBF")) return i + 3;
  const char a = static_cast<char>(rest[0] | 0x20);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return i + 2;
  if (rest.size() < 2) return i;
  const char b = static_cast<char>(rest[1] | 0x20);
  return ((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l') ? i + 3 : i;
}

bool is_line_end(char c) { return c == '\r' || c == '\n'; }

// [^\r\n\p{L}\p{N}]
bool may_be_prefix(const CharacterScanner& scanner, std::size_t i, const Character& c) {
  return c.kind() != CharacterKind::letter && c.kind() != CharacterKind::number && !is_line_end(scanner.text()[i]);
}

// The end of a word of capitals, then small letters; `begin` if none begins there. First the alternative that ends in
// a small letter, which may give back capitals; a character that counts as both is the usual case of one given back.
std::size_t cased_end(const CharacterScanner& scanner, std::size_t begin) {
  const Character first = scanner.at(begin);
  const bool prefixed = may_be_prefix(scanner, begin, first);
  const std::size_t letters = prefixed ? begin + first.length : begin;
  std::size_t capitals = letters, last_small_end = begin;
  while (!scanner.at_end(capitals)) {
    const Character c = scanner.at(capitals);
    if ((c.bits & kUpperBit) == 0) break;
    capitals += c.length;
    if ((c.bits & kLowerBit) != 0) last_small_end = capitals;
  }
  const std::size_t small = scanner.bits_end(capitals, kLowerBit);
  if (small > capitals) return small;
  if (last_small_end > begin) return last_small_end;
  if (prefixed && (first.bits & kLowerBit) != 0) return letters;  // a mark alone: not a prefix, but a small letter
  return capitals > letters ? capitals : begin;
}

std::size_t letters_end(const CharacterScanner& scanner, std::size_t begin, const Character& first) {
  if (first.kind() == CharacterKind::letter) return scanner.run_end(begin + first.length, CharacterKind::letter);
  if (!may_be_prefix(scanner, begin, first)) return begin;
  const std::size_t letters = begin + first.length;
  const std::size_t end = scanner.run_end(letters, CharacterKind::letter);
  return end > letters ? end : begin;
}

std::size_t digits_end(const CharacterScanner& scanner, std::size_t begin, int most) {
  std::size_t end = begin;
  for (int count = 0; count < most && !scanner.at_end(end); ++count) {
    const Character c = scanner.at(end);
    if (c.kind() != CharacterKind::number) break;
    end += c.length;
  }
  return end;
}

//  ?[^\s\p{L}\p{N}]+[\r\n]*
std::size_t other_end(const CharacterScanner& scanner, std::size_t begin, bool slashes) {
  const std::size_t others = scanner.text()[begin] == ' ' ? begin + 1 : begin;
  std::size_t end = scanner.run_end(others, CharacterKind::other);
  if (end == others) return begin;
  while (!scanner.at_end(end) && (is_line_end(scanner.text()[end]) || (slashes && scanner.text()[end] == '/'))) ++end;
  return end;
}

// White space up to its last line end if it has one, else as GPT-2 does.
std::size_t space_end(const CharacterScanner& scanner, std::size_t begin) {
  std::size_t line_end = begin;
  for (std::size_t i = begin; !scanner.at_end(i);) {
    const Character c = scanner.at(i);
    if (c.kind() != CharacterKind::space) break;
    i += c.length;
    if (is_line_end(scanner.text()[i - 1])) line_end = i;
  }
  return line_end > begin ? line_end : scanner.space_word_end(begin);
}

}  // namespace

std::optional<WordRules> word_rules_of(std::string_view pattern) {
  for (const KnownPattern& known : kKnown) {
    if (known.text == pattern) return known.rules;
  }
  return std::nullopt;
}

std::size_t rare_word_end(const WordRules& rules, const CharacterScanner& scanner, std::size_t begin) {
  const Character first = scanner.at(begin);
  if (rules.by_case) {
    const std::size_t end = cased_end(scanner, begin);
    if (end > begin) return rules.contractions ? contraction_end(scanner.text(), end) : end;
  } else {
    if (rules.contractions) {
      if (const std::size_t end = contraction_end(scanner.text(), begin); end > begin) return end;
    }
    if (const std::size_t end = letters_end(scanner, begin, first); end > begin) return end;
  }
  if (first.kind() == CharacterKind::number) return digits_end(scanner, begin, rules.digits);
  if (const std::size_t end = other_end(scanner, begin, rules.slashes); end > begin) return end;
  return space_end(scanner, begin);
}

}  // namespace ringtron

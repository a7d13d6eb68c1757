// A regular expression over UTF-8 text, by PCRE2: for the patterns of tokenizer files that word_rules.h does not know.
//
// Classes of characters (\p{L} and the like) are those of the Unicode version of the PCRE2 that is installed.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace ringtron {

// The members of a class [...] of what the tokenizers library takes for \w; PCRE2's own lacks some.
inline constexpr const char kWordCharacters[] =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{200C}\x{200D}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})";

// Immutable after construction, so any number of threads may share it.
class TextPattern {
 public:
  // `where` names the expression in messages. Throws ConfigError if PCRE2 cannot compile it.
  TextPattern(const std::string& expression, const std::string& where);
  // Every occurrence of `text` itself.
  static TextPattern literal(const std::string& text);

  // The first match that begins at `begin` or later and is not empty: its first byte and the one behind its last.
  // Requires: text is valid UTF-8, and `begin` the beginning of a character or the end. Throws ConfigError if a match
  // exceeds PCRE2's limits.
  std::optional<std::pair<std::size_t, std::size_t>> find(std::string_view text, std::size_t begin) const;

 private:
  TextPattern() = default;

  std::string text_;            // of a literal, or the expression for messages
  std::shared_ptr<void> code_;  // pcre2_code_8; none for a literal
};

}  // namespace ringtron

// Cuts text into words by the patterns that most of today's byte-level tokenizers share, without a regular-expression
// engine: Llama 3's, Qwen 2's, GPT-4o's and the two of Megatron-LM's TikTokenizer.
//
// They are one pattern with four differences:
//
//   contraction | prefix letters | digits | other | white space with a line end | white space
//
//   contraction   (?i:'s|'t|'re|'ve|'m|'ll|'d), or nothing
//   letters       [^\r\n\p{L}\p{N}]?\p{L}+, or by case: capitals, then small letters, then perhaps a contraction
//   digits        \p{N}{1,N}
//   other         ?[^\s\p{L}\p{N}]+[\r\n]*, or [\r\n/]*
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "ringtron/tokenizer/pipeline/character_scanner.h"

namespace ringtron {

struct WordRules {
  bool contractions = false;  // before letters, or behind them where words are cut by case
  bool by_case = false;
  int digits = 1;        // the most in one word
  bool slashes = false;  // whether '/' may follow other characters as line ends do

  bool operator==(const WordRules&) const = default;
};

inline constexpr WordRules kLlama3Words = {.contractions = true, .digits = 3};
inline constexpr WordRules kQwen2Words = {.contractions = true};
inline constexpr WordRules kTikTokenV1Words = {};
inline constexpr WordRules kTikTokenV2Words = {.by_case = true, .slashes = true};
inline constexpr WordRules kGpt4oWords = {.contractions = true, .by_case = true, .digits = 3, .slashes = true};

// The rules that are equal to the regular expression `pattern`, as tokenizer.json files write it; nothing for another.
std::optional<WordRules> word_rules_of(std::string_view pattern);

std::size_t rare_word_end(const WordRules& rules, const CharacterScanner& scanner, std::size_t begin);

// The end of the word that begins at byte `begin` of the scanner's text, which is not the text's end.
inline std::size_t word_end(const WordRules& rules, const CharacterScanner& scanner, std::size_t begin) {
  // Most words by far are English letters, behind a space or not.
  const std::size_t letters = scanner.text()[begin] == ' ' ? begin + 1 : begin;
  if (!rules.by_case && scanner.is_ascii_letter(letters)) {
    std::size_t end = letters + 1;
    while (scanner.is_ascii_letter(end)) ++end;
    return scanner.run_end(end, CharacterKind::letter);
  }
  return rare_word_end(rules, scanner, begin);
}

// Calls visit(std::string_view) on each word in order. The words together are `text`.
template <class Visitor>
void for_each_word_by(const WordRules& rules, std::string_view text, Visitor&& visit) {
  const CharacterScanner scanner(text);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = word_end(rules, scanner, begin);
    visit(text.substr(begin, end - begin));
    begin = end;
  }
}

}  // namespace ringtron

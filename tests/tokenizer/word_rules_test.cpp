// The matchers of well-known patterns are equal to PCRE2 with the patterns themselves, on random texts.
#include "ringtron/tokenizer/pipeline/word_rules.h"

#include <gmock/gmock.h>

#include "ringtron/base/random.h"
#include "ringtron/tokenizer/pipeline/text_pattern.h"
#include "ringtron/tokenizer/pipeline/utf8.h"

namespace ringtron {
namespace {

using ::testing::ElementsAre;

const std::string kContraction = R"((?i:'s|'t|'re|'ve|'m|'ll|'d))";
const std::string kRest = R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string kCasedRest = R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string kSmallWord = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)";
const std::string kCapitalWord = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)";
const std::string kPatterns[] = {
    kContraction + R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})" + kRest,
    kContraction + R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})" + kRest,
    R"([^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)",
    kSmallWord + "|" + kCapitalWord + R"(|\p{N})" + kCasedRest,
    kSmallWord + kContraction + "?|" + kCapitalWord + kContraction + R"(?|\p{N}{1,3})" + kCasedRest,
};

std::vector<std::string> by_pcre2(const TextPattern& pattern, const std::string& text) {
  std::vector<std::string> words;
  std::size_t done = 0;
  while (const auto match = pattern.find(text, done)) {
    EXPECT_EQ(match->first, done);
    words.push_back(text.substr(match->first, match->second - match->first));
    done = match->second;
  }
  EXPECT_EQ(done, text.size());
  return words;
}

std::vector<std::string> by_rules(const WordRules& rules, const std::string& text) {
  std::vector<std::string> words;
  for_each_word_by(rules, text, [&](std::string_view word) { words.emplace_back(word); });
  return words;
}

std::string random_text(std::uint64_t stream) {
  static const char* const kParts[] = {
      "a",      "B",      "'",      "s",      "S",      "LL", "re", "1",      "23", "\u00bd", " ",         " ",
      "  ",     "\n",     "\r\n",   "\t",     "/",      ".",  "!?", "\u00e9", "É",  "\u0301", "東",        "\u01c5",
      "\u02b0", "\u017f", "\u00a0", "\u3000", "\u2028", "😀", "न",  "\u094d", "_",  "\u0085", "\U000e0100"};
  std::string text;
  const auto length = random_word(3, stream, 0) % 24;
  for (std::uint64_t i = 1; i <= length; ++i) {
    const std::uint64_t word = random_word(3, stream, i);
    if (word % 8 == 0) {  // old enough that every version of Unicode has it
      append_utf8(static_cast<char32_t>(0x20 + (word >> 8) % 0x560), text);
    } else {
      text += kParts[(word >> 8) % std::size(kParts)];
    }
  }
  return text;
}

TEST(WordRules, AreThePatterns) {
  int different_rules = 0;
  for (const std::string& expression : kPatterns) {
    const auto rules = word_rules_of(expression);
    ASSERT_TRUE(rules) << expression;
    const TextPattern pattern(expression, "test");
    WordRules others = *rules;  // negative control: another rule gives other words somewhere
    others.digits = rules->digits == 1 ? 3 : 1;
    int differences = 0;
    for (std::uint64_t stream = 0; stream < 3000; ++stream) {
      const std::string text = random_text(stream);
      const auto expected = by_pcre2(pattern, text);
      EXPECT_EQ(by_rules(*rules, text), expected) << expression;
      differences += by_rules(others, text) != expected;
    }
    different_rules += differences > 0;
  }
  EXPECT_EQ(different_rules, std::ssize(kPatterns));
  EXPECT_FALSE(word_rules_of(R"(\s+)"));
}

TEST(WordRules, WordsByHand) {
  EXPECT_THAT(by_rules(kLlama3Words, "It'S 12345\n\n x"), ElementsAre("It", "'S", " ", "123", "45", "\n\n", " x"));
  EXPECT_THAT(by_rules(kQwen2Words, "a12(b"), ElementsAre("a", "1", "2", "(b"));
  EXPECT_THAT(by_rules(kGpt4oWords, "HTTPResponse's a/b"), ElementsAre("HTTPResponse's", " a", "/b"));
  EXPECT_THAT(by_rules(kTikTokenV2Words, "camelCase AB"), ElementsAre("camel", "Case", " AB"));
  EXPECT_THAT(by_rules(kLlama3Words, "  \xff\xfe!"), ElementsAre(" ", " \xff\xfe!"));
}

TEST(TextPattern, LongRunsDoNotFail) {
  const TextPattern pattern(R"((a|b)+(?!\S)|\s+)", "test");
  const std::string text(300000, 'a');
  const auto match = pattern.find(text, 0);
  ASSERT_TRUE(match);
  EXPECT_EQ(match->second, text.size());
}

}  // namespace
}  // namespace ringtron

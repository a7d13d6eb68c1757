#include "ringtron/tokenizer/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ringtron {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> found;
  for_each_word(text, [&](std::string_view word) { found.emplace_back(word); });
  return found;
}

TEST(PreTokenizer, Contractions) {
  EXPECT_THAT(words("I'm we've it'll"), ElementsAre("I", "'m", " we", "'ve", " it", "'ll"));
  EXPECT_THAT(words("I'M 's '''s"), ElementsAre("I", "'", "M", " '", "s", " '''", "s"));
}

TEST(PreTokenizer, LastSpaceGoesToNextWord) {
  EXPECT_THAT(words("a   b"), ElementsAre("a", "  ", " b"));
  EXPECT_THAT(words("a\n\nb"), ElementsAre("a", "\n", "\n", "b"));
  EXPECT_THAT(words("a  "), ElementsAre("a", "  "));
  EXPECT_THAT(words(" \u00a0a"), ElementsAre(" ", "\u00a0", "a"));
}

TEST(PreTokenizer, KindsOfCharacters) {
  EXPECT_THAT(words("abc123 ½² 中文!?"), ElementsAre("abc", "123", " ½²", " 中文", "!?"));
  EXPECT_THAT(words("e\u0301"), ElementsAre("e", "\u0301"));
  EXPECT_THAT(words("a\u0085b\u3000c"), ElementsAre("a", "\u0085", "b", "\u3000", "c"));
  EXPECT_THAT(words("a\x1c"), ElementsAre("a", "\x1c"));                      // no white space to Unicode
  EXPECT_THAT(words("a\ua7cb\U0002ebf0"), ElementsAre("a\ua7cb\U0002ebf0"));  // Unicode 16.0 and 15.1
}

TEST(PreTokenizer, BytesThatAreNotUtf8AreSymbols) {
  EXPECT_THAT(words("a\xff\xfe z"), ElementsAre("a", "\xff\xfe", " z"));
  EXPECT_THAT(words("a\xc3"), ElementsAre("a", "\xc3"));                  // cut off
  EXPECT_THAT(words("a\xc1\x81"), ElementsAre("a", "\xc1\x81"));          // overlong
  EXPECT_THAT(words("a\xed\xa0\x80"), ElementsAre("a", "\xed\xa0\x80"));  // surrogate
}

}  // namespace
}  // namespace ringtron

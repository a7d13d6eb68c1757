#include "ringtron/base/text.h"

#include <gtest/gtest.h>

#include "ringtron/base/shown_message.h"

namespace ringtron {
namespace {

TEST(Text, EditDistance) {
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("ab", "ba"), 1);
}

TEST(Text, NearestNamesBestFirst) {
  const std::vector<std::string> known = {"--seq-length", "--save", "--num-layers", "--max-length"};
  const auto found = nearest_names("--seq-lenght", known);
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(found[0], "--seq-length");
  EXPECT_TRUE(nearest_names("--zzzzzzzzzz", known).empty());
}

TEST(Text, SplitJoinTrim) {
  EXPECT_EQ(split("a,,b", ','), (std::vector<std::string>{"a", "", "b"}));
  EXPECT_EQ(join(split("a,b", ','), "+"), "a+b");
  EXPECT_EQ(trim(" \tx y\n"), "x y");
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
}

TEST(Text, GroupsDigits) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(3911497), "3,911,497");
  EXPECT_EQ(grouped(-123456), "-123,456");
}

TEST(Text, ExcerptsAreShortAndOnOneLine) {
  EXPECT_EQ(excerpt("plain \u00e9"), "plain \u00e9");
  EXPECT_EQ(excerpt(std::string_view("a\nb\0\xff\xed\xa0\x80", 8)), "a\\x0ab\\x00\\xff\\xed\\xa0\\x80");
  EXPECT_EQ(excerpt("abcdef", 4), "abcd... (6 bytes)");
  EXPECT_EQ(excerpt("\u00e9\u00e9\u00e9", 3), "\u00e9\u00e9... (6 bytes)");
  EXPECT_LT(excerpt(std::string(1 << 20, '\1'), 100).size(), 130u);
}

TEST(Text, MessagesAreShownWithoutControlBytesAndEndlessWords) {
  EXPECT_EQ(shown_message("--load a: it is\n  absent\t\u00e9"), "--load a: it is\n  absent\t\u00e9");
  EXPECT_EQ(shown_message(""), "");
  EXPECT_EQ(shown_message("two  blanks \n"), "two  blanks \\x0a");
  EXPECT_EQ(shown_message("--load a\x1b[31mb\r: absent\xff"), "--load a\\x1b[31mb\\x0d: absent\\xff");
  EXPECT_EQ(shown_message("--load " + std::string(100000, 'b') + ": absent", 4),
            "--lo... (6 bytes) bbbb... (100001 bytes) abse... (6 bytes)");
}

// A path may hold newlines and what a terminal obeys; it must not look like a line of its own.
TEST(Text, ForeignNewlinesBeginNoLine) {
  EXPECT_EQ(shown_message("--load a\nWARNING: b\n: absent"), "--load a\\x0aWARNING: b\\x0a: absent");
  EXPECT_EQ(shown_message("\na: absent\n\n"), "\\x0aa: absent\\x0a\\x0a");
  EXPECT_EQ(shown_message("faults:\n  1. a\n  2. b\n----"), "faults:\n  1. a\n  2. b\n----");
  EXPECT_EQ(shown_message("a\n-b"), "a\\x0a-b");
  EXPECT_EQ(shown_message("a\xc2\x9b"
                          "2Jb \u00a0"),
            "a\\xc2\\x9b2Jb \u00a0");
}

TEST(Text, LongListsOfMessagesAreCut) {
  const std::vector<std::string> three = {"a", "b\x1b", "c"};
  EXPECT_EQ(numbered(three, 3), "\n  1. a\n  2. b\\x1b\n  3. c");
  EXPECT_EQ(numbered(three, 1), "\n  1. a\n  ... and 2 more");
}

TEST(Text, Utf8Characters) {
  for (const char* good : {"a", "\u00e9", "\u20ac", "\ud7ff", "\ue000", "\U0001f600", "\U0010ffff"}) {
    EXPECT_EQ(utf8_character(good), std::string_view(good).size()) << good;
  }
  for (const char* bad : {"", "\x80", "\xc1\x81", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
                          "\xf4\x90\x80\x80", "\xe2\x82", "\xe2\x82z", "\xff"}) {
    EXPECT_EQ(utf8_character(bad), 0u);
  }
}

}  // namespace
}  // namespace ringtron

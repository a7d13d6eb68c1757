#include "ringtron/base/text.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace ringtron

#include "ringtron/tools/take_flag.h"

#include <gmock/gmock.h>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

using ::testing::ElementsAre;

TEST(TakeFlag, TakesEverySpellingAndLeavesTheRest) {
  std::vector<std::string> words = {"--lr", "1", "--world-size", "8", "--world_size=4", "--mock-data", "--world-sizes"};
  EXPECT_EQ(take_flag(words, "--world-size"), "4");
  EXPECT_THAT(words, ElementsAre("--lr", "1", "--mock-data", "--world-sizes"));
  EXPECT_EQ(take_flag(words, "--world-size"), std::nullopt);
}

TEST(TakeFlag, WantsAValue) {
  for (std::vector<std::string> words : {std::vector<std::string>{"--inject"}, {"--inject", "--lr", "1"}}) {
    EXPECT_THROW(take_flag(words, "--inject"), ConfigError);
  }
}

TEST(TakeFlag, NumbersAreChecked) {
  for (const char* bad : {"0", "-1", "2x", "", "1.5", "99999999999"}) {
    std::vector<std::string> words = {std::string("--world-size=") + bad};
    EXPECT_THROW(take_count(words, "--world-size"), ConfigError) << bad;
  }
  for (const char* bad : {"0", "-1e-3", "nan", "inf", "x"}) {
    std::vector<std::string> words = {std::string("--tolerance=") + bad};
    EXPECT_THROW(take_positive(words, "--tolerance"), ConfigError) << bad;
  }
  std::vector<std::string> words = {"--world-size", "32", "--tolerance", "1e-8"};
  EXPECT_EQ(take_count(words, "--world-size"), 32);
  EXPECT_EQ(take_positive(words, "--tolerance"), 1e-8);
  EXPECT_TRUE(words.empty());
}

TEST(TakeFlag, ZeroWhereItIsAllowed) {
  std::vector<std::string> words = {"--warmup", "0", "--repeats=-1"};
  EXPECT_EQ(take_count(words, "--warmup", 0), 0);
  EXPECT_THROW(take_count(words, "--repeats", 0), ConfigError);
}

}  // namespace
}  // namespace ringtron

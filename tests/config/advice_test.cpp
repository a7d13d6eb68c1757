// What messages advise is accepted; what a line would do at each restart is told.
#include <gmock/gmock.h>

#include <algorithm>

#include "ringtron/config/parse.h"
#include "ringtron/config/restart_notices.h"
#include "ringtron/config/validate.h"
#include "tests/config/example_flags.h"
#include "tests/config/rule_cases.h"

namespace ringtron {
namespace {

using testing::IsEmpty;

Config config_of(const std::vector<std::string>& words) {
  ParsedFlags parsed = parse_flags(words);
  EXPECT_THAT(parsed.faults, IsEmpty());
  return parsed.line.config;
}

TEST(Advice, IsAccepted) {
  for (const RuleCase& c : kRuleCases) {
    std::vector<std::string> left_out = split(c.without, ' '), added;
    for (const std::string& word : split(c.advised, ' ')) {
      (word.front() == '!' ? left_out : added).push_back(word.front() == '!' ? word.substr(1) : word);
    }
    std::vector<std::string> words;
    bool skipping = false;
    for (const std::string& word : example_1()) {
      if (word.starts_with("--")) skipping = std::find(left_out.begin(), left_out.end(), word) != left_out.end();
      if (!skipping) words.push_back(word);
    }
    words.insert(words.end(), added.begin(), added.end());
    EXPECT_THAT(validate(config_of(words), kExample1Ranks), IsEmpty())
        << "advised: " << c.advised << " after " << c.message;
  }
}

// The same line starts a run again: what is for the first start alone is told.
TEST(Advice, WhatEveryRestartWouldDoAgainIsTold) {
  const auto told = [](const std::string& flags) {
    std::vector<std::string> words;
    for (const std::string& word : example_1()) {
      if (word != "--no-load-optim") words.push_back(word);
    }
    for (const std::string& word : split(flags, ' ')) words.push_back(word);
    int count = 0;
    for (const Notice& notice : restart_notices(fill_defaults(config_of(words), kExample1Ranks).config)) {
      count += notice.text.find("with --load equal to --save") != std::string::npos;
    }
    return count;
  };
  EXPECT_EQ(told("--seed 1"), 0);
  EXPECT_EQ(told("--no-load-optim"), 1);
  EXPECT_EQ(told("--no-load-optim --save /path/to/other"), 0);
  EXPECT_EQ(told("--no-load-optim --save /path/to/../to/checkpoints/"), 1);
  EXPECT_EQ(told("--finetune"), 1);
  EXPECT_EQ(told("--ckpt-step 5"), 1);
  EXPECT_EQ(told("--no-save-optim"), 1);
  EXPECT_EQ(told("--no-load-optim --skip-train"), 0);
}

}  // namespace
}  // namespace ringtron

#include "ringtron/tokenizer/bpe_trainer.h"

#include <gtest/gtest.h>

#include "ringtron/base/error.h"
#include "ringtron/base/random.h"

namespace ringtron {
namespace {

std::vector<std::string> merged_tokens(const BpeModel& model) {
  return {model.tokens.begin() + 256, model.tokens.end()};
}

TEST(BpeTrainer, MostFrequentPairFirst) {
  BpeTrainer trainer;
  trainer.add("xyz xyz xy");
  // x+y 3 times, " "+xy 2, then " xy"+z 1 and xy+z 1, which are too rare.
  const BpeModel model = trainer.train({.vocab_size = 1000});
  EXPECT_EQ(merged_tokens(model), (std::vector<std::string>{"xy", " xy", "<|endoftext|>"}));
  EXPECT_EQ(model.end_of_text, 258);
}

TEST(BpeTrainer, TiesGoToSmallestIds) {
  BpeTrainer trainer;
  trainer.add("cd\ncd\nab\nab");
  EXPECT_EQ(merged_tokens(trainer.train({.vocab_size = 258})), (std::vector<std::string>{"ab", "<|endoftext|>"}));
}

TEST(BpeTrainer, OrderOfDocumentsDoesNotMatter) {
  std::vector<std::string> documents;
  for (int d = 0; d < 40; ++d) {
    std::string text;
    for (int i = 0; i < 200; ++i) text += "abcde "[random_word(3, d, i) % 6];
    documents.push_back(text);
  }
  BpeTrainer forward, backward;
  for (std::size_t d = 0; d < documents.size(); ++d) {
    forward.add(documents[d]);
    backward.add(documents[documents.size() - 1 - d]);
  }
  const BpeModel a = forward.train({.vocab_size = 400}), b = backward.train({.vocab_size = 400});
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.tokens.size(), 400u);
}

TEST(BpeTrainer, ImpossibleSizes) {
  BpeTrainer trainer;
  EXPECT_THROW(trainer.train({.vocab_size = 256}), ConfigError);
  EXPECT_THROW(trainer.train({.vocab_size = 300, .min_count = 0}), ConfigError);
  EXPECT_EQ(trainer.train({.vocab_size = 300}).tokens.size(), 257u);  // of no text
}

}  // namespace
}  // namespace ringtron

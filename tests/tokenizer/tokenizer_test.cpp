#include "ringtron/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

TEST(Tokenizer, NullTokenizer) {
  const auto tokenizer = make_tokenizer({.type = TokenizerType::null, .vocab_size = 100});
  EXPECT_EQ(tokenizer->vocab_size(), 100);
  EXPECT_EQ(tokenizer->eod(), 99);
  EXPECT_EQ(tokenizer->encode(" 1 2\n99 "), (std::vector<std::int32_t>{1, 2, 99}));
  EXPECT_TRUE(tokenizer->encode("").empty());
  EXPECT_EQ(tokenizer->decode(std::vector<std::int32_t>{1, 2, 99}), "1 2 99");
  for (const char* text : {"100", "-1", "1.5", "x", "99999999999999999999"}) {
    EXPECT_THROW(tokenizer->encode(text), ConfigError) << text;
  }
  EXPECT_THROW(tokenizer->decode(std::vector<std::int32_t>{100}), ConfigError);
}

TEST(Tokenizer, OptionsThatCannotWork) {
  EXPECT_THROW(make_tokenizer({.type = TokenizerType::null, .vocab_size = 0}), ConfigError);
  EXPECT_THROW(tokenizer_type("BertWordPieceCase"), ConfigError);
  EXPECT_THROW(make_tokenizer({.type = TokenizerType::gpt2_bpe}), ConfigError);
  EXPECT_THROW(make_tokenizer({.vocab_file = "no/vocab.json", .merge_file = "no/merges.txt"}), ConfigError);
}

}  // namespace
}  // namespace ringtron

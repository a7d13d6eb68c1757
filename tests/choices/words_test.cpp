// Every choice: each enumerator has one word, each word one enumerator, and nothing else is a word.
#include "ringtron/choices/words.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "ringtron/choices/choices.h"

namespace ringtron {
namespace {

template <class E>
class WordsOf : public testing::Test {};

using AllChoices = testing::Types<PositionEmbedding, Normalization, SoftmaxKind, CpLayout, Backend, OptimizerType,
                                  LrDecayStyle, WsdDecayStyle, WeightDecayStyle, RecomputeGranularity, RecomputeMethod,
                                  DataloaderType, TokenizerType>;
TYPED_TEST_SUITE(WordsOf, AllChoices);

TYPED_TEST(WordsOf, ReadAndPrint) {
  std::set<std::string_view> words;
  std::set<int> values;
  for (const auto& [value, text] : Words<TypeParam>::table) {
    EXPECT_EQ(word_of(value), text);
    EXPECT_EQ(find_choice<TypeParam>(text), value) << text;
    EXPECT_TRUE(words.insert(text).second) << text;
    EXPECT_TRUE(values.insert(static_cast<int>(value)).second) << text;
  }
  EXPECT_EQ(*values.begin(), 0);
  EXPECT_EQ(*values.rbegin(), static_cast<int>(values.size()) - 1) << "an enumerator without a word";
  EXPECT_EQ(std::set<std::string_view>(kWordsOf<TypeParam>.begin(), kWordsOf<TypeParam>.end()), words);
}

TYPED_TEST(WordsOf, NothingElseIsAWord) {
  EXPECT_EQ(find_choice<TypeParam>(""), std::nullopt);
  for (const std::string_view word : kWordsOf<TypeParam>) {
    EXPECT_EQ(find_choice<TypeParam>(std::string(word) + " "), std::nullopt);
    EXPECT_EQ(find_choice<TypeParam>(word.substr(1)), std::nullopt);
  }
}

static_assert(word_of(Normalization::rms_norm) == "RMSNorm");
static_assert(find_choice<LrDecayStyle>("inverse-square-root") == LrDecayStyle::inverse_square_root);
static_assert(!Choice<int> && Choice<CpLayout>);

}  // namespace
}  // namespace ringtron

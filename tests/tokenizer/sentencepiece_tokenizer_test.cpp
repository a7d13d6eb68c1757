// Tokenizers with a SentencePiece model, of which two are trained here: their ids are the library's, with what
// Megatron-LM adds.
#include "ringtron/tokenizer/sentencepiece_tokenizer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <fstream>
#include <random>
#include <thread>

#include "ringtron/base/error.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// One model for all tests of a kind, as its training prints and takes a while.
std::filesystem::path train(const testing::TempDir& folder, const std::string& name, const std::string& options) {
  const auto text = folder / "text", prefix = folder / name;
  std::ofstream out(text);
  std::mt19937 random(3);
  for (int i = 0; i < 3000; ++i) {
    out << "the quick brown fox number " << i * 7919 % 1000 << " jumps over lazy dogs in Zürich, 東京 and Łódź";
    for (int word = 0; word < 6; ++word) {
      out << ' ';
      for (unsigned k = 0; k < 2 + random() % 3; ++k) out << "bcdfghklmnprstvz"[random() % 16] << "aeiou"[random() % 5];
    }
    out << '\n';
  }
  out.close();
  const auto status = sentencepiece::SentencePieceTrainer::Train(
      fmt::format("--input={} --model_prefix={} --minloglevel=2 {}", text.string(), prefix.string(), options));
  EXPECT_TRUE(status.ok()) << status.ToString();
  return prefix.string() + ".model";
}

class SentencePiece : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new testing::TempDir();
    llama_ = train(*folder_, "llama", "--vocab_size=400 --model_type=bpe --byte_fallback=true --split_digits=true");
    unigram_ = train(*folder_, "unigram", "--vocab_size=300 --model_type=unigram --user_defined_symbols=<SEP>");
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::vector<std::int32_t> of_library(const std::filesystem::path& model, const std::string& text) {
    sentencepiece::SentencePieceProcessor processor;
    EXPECT_TRUE(processor.Load(model.string()).ok());
    std::vector<int> ids;
    EXPECT_TRUE(processor.Encode(text, &ids).ok());
    return {ids.begin(), ids.end()};
  }

  static inline testing::TempDir* folder_ = nullptr;
  static inline std::filesystem::path llama_, unigram_;
};

std::vector<std::string> texts() {
  std::vector<std::string> all = {
      "",         " ",          "the quick brown fox", "  two  spaces ", "a\nb\tc", "東京 Zürich",
      "\xff\xfe", "1234567890", std::string(5000, 'a')};
  std::mt19937 random(7);
  for (int i = 0; i < 300; ++i) {
    std::string text;
    for (int k = 0; k < static_cast<int>(random() % 40); ++k) {
      static const char* const kParts[] = {"fox ", "z", "9", "é", "京", " ", "\n", "<SEP>", "the", "ö", "😀", "</s>"};
      text += kParts[random() % 12];
    }
    all.push_back(text);
  }
  return all;
}

std::vector<std::int32_t> joined(std::int32_t first, std::vector<std::int32_t> rest) {
  rest.insert(rest.begin(), first);
  return rest;
}

TEST_F(SentencePiece, GptsIdsAreTheLibrarys) {
  for (const auto& model : {llama_, unigram_}) {
    const auto tokenizer = make_tokenizer({.type = TokenizerType::gpt_sentencepiece, .model_file = model});
    for (const std::string& text : texts()) EXPECT_EQ(tokenizer->encode(text), of_library(model, text)) << text;
    EXPECT_EQ(tokenizer->eod(), 2);  // the library's </s>
  }
  EXPECT_EQ(make_tokenizer({.type = TokenizerType::gpt_sentencepiece, .model_file = llama_})->vocab_size(), 400);
}

TEST_F(SentencePiece, Llama2sBeginWithTheBeginning) {
  const auto tokenizer = make_tokenizer({.type = TokenizerType::llama2, .model_file = llama_});
  for (const std::string& text : texts())
    EXPECT_EQ(tokenizer->encode(text), joined(1, of_library(llama_, text))) << text;
  EXPECT_EQ(tokenizer->eod(), 2);
  EXPECT_EQ(tokenizer->vocab_size(), 400);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("the fox in 東京")), "the fox in 東京");
  EXPECT_FALSE(tokenizer->takes_parts());
}

// What the model has keeps its id, what it lacks comes behind: <CLS>, <EOD>, <MASK>, <PAD>; <SEP> is a symbol of this
// one.
TEST_F(SentencePiece, SpecialPiecesAreThoseOfMegatron) {
  const auto tokenizer = make_tokenizer({.type = TokenizerType::sentencepiece, .model_file = unigram_, .extra_ids = 2});
  EXPECT_EQ(tokenizer->vocab_size(), 300 + 4 + 2);
  EXPECT_EQ(tokenizer->eod(), 301);
  const auto sep = of_library(unigram_, "<SEP>").back();
  const auto part = [&](const std::string& text) { return of_library(unigram_, text); };
  std::vector<std::int32_t> expected = part("the fox ");
  for (const std::int32_t id : {300, 301}) expected.push_back(id);
  for (const std::int32_t id : part(" over")) expected.push_back(id);
  for (const std::int32_t id : {sep, 305, 2}) expected.push_back(id);
  EXPECT_EQ(tokenizer->encode("the fox <CLS><EOD> over<SEP><extra_id_1></s>"), expected);
  EXPECT_EQ(tokenizer->decode(std::vector<std::int32_t>{300}), " <CLS> ");
  EXPECT_THROW(tokenizer->decode(std::vector<std::int32_t>{306}), ConfigError);
}

TEST_F(SentencePiece, DescriptionsTellModelsApart) {
  const auto description = [](TokenizerType type, const std::filesystem::path& model, std::int64_t extra) {
    return make_tokenizer({.type = type, .model_file = model, .extra_ids = extra})->description();
  };
  const std::string own = description(TokenizerType::sentencepiece, llama_, 0);
  const auto copy = *folder_ / "copy.model";
  std::filesystem::copy_file(llama_, copy);
  EXPECT_EQ(own, description(TokenizerType::sentencepiece, copy, 0));
  EXPECT_NE(own, description(TokenizerType::sentencepiece, unigram_, 0));
  EXPECT_NE(own, description(TokenizerType::sentencepiece, llama_, 1));
  EXPECT_NE(own, description(TokenizerType::llama2, llama_, 0));
}

TEST_F(SentencePiece, SeveralThreadsAtOnce) {
  const auto tokenizer = make_tokenizer({.type = TokenizerType::llama2, .model_file = llama_});
  const std::vector<std::string> all = texts();
  std::vector<std::vector<std::int32_t>> expected;
  for (const std::string& text : all) expected.push_back(tokenizer->encode(text));
  std::vector<int> differences(4, 0);
  std::vector<std::thread> threads;
  for (int& count : differences) {
    threads.emplace_back([&] {
      for (std::size_t i = 0; i < all.size(); ++i) count += tokenizer->encode(all[i]) != expected[i];
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(differences, ::testing::Each(0));
}

TEST_F(SentencePiece, FilesThatCannotBe) {
  const auto make = [](const std::filesystem::path& model, TokenizerType type = TokenizerType::llama2) {
    return [=] { make_tokenizer({.type = type, .model_file = model}); };
  };
  EXPECT_THAT(make(""), ThrowsMessage<ConfigError>(HasSubstr("--tokenizer-model")));
  EXPECT_THAT(make(*folder_ / "missing.model"), ThrowsMessage<ConfigError>(HasSubstr("missing.model")));
  const auto json = *folder_ / "tokenizer.json", empty = *folder_ / "empty.model";
  std::ofstream(json) << R"({"model": {"type": "BPE"}})";
  std::ofstream(empty).close();
  for (const auto& file : {json, empty})
    EXPECT_THAT(make(file), ThrowsMessage<ConfigError>(HasSubstr("expected a SentencePiece model")));
  const auto no_begin = train(*folder_, "bare", "--vocab_size=300 --model_type=bpe --bos_id=-1");
  EXPECT_THAT(make(no_begin), ThrowsMessage<ConfigError>(HasSubstr("no begin")));
  EXPECT_NO_THROW(make(no_begin, TokenizerType::gpt_sentencepiece)());
}

}  // namespace
}  // namespace ringtron

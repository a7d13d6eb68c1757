#include "ringtron/tokenizer/gpt2_bpe.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/base/random.h"
#include "ringtron/tokenizer/bpe_trainer.h"

namespace ringtron {
namespace {

const std::filesystem::path kSource = RINGTRON_SOURCE_DIR;

Gpt2BpeTokenizer tiny_tokenizer() {
  BpeTrainer trainer;
  trainer.add("the cat and the hat and the bat; aaaa aaaaaaaa banana ananas the then there");
  return Gpt2BpeTokenizer(trainer.train({.vocab_size = 300}));
}

std::string random_bytes(std::uint64_t stream, int length) {
  std::string bytes;
  for (int i = 0; i < length; ++i) bytes += static_cast<char>(random_word(7, stream, i));
  return bytes;
}

// Texts whose ids are not the ones that Hugging Face's tokenizers gave.
int count_differences(const BpeModel& model) {
  const Gpt2BpeTokenizer tokenizer(model);
  int differences = 0;
  for (const auto& entry : nlohmann::json::parse(read_file(kSource / "tests/golden/gpt2_ids.json"))) {
    const std::string text = entry["text"];
    const std::vector<std::int32_t> ids = tokenizer.encode(text);
    differences += ids != entry["ids"].get<std::vector<std::int32_t>>();
    EXPECT_EQ(tokenizer.decode(ids), text);
  }
  return differences;
}

TEST(Gpt2Bpe, IdsOfGpt2) {
  const std::filesystem::path files = kSource.parent_path() / "shared/data/gpt2";
  if (!std::filesystem::exists(files / "vocab.json")) GTEST_SKIP() << "GPT-2's files are not in " << files;
  BpeModel model = read_gpt2_vocab_files(files / "vocab.json", files / "merges.txt");
  EXPECT_EQ(count_differences(model), 0);
  EXPECT_EQ(Gpt2BpeTokenizer(model).vocab_size(), 50257);
  EXPECT_EQ(Gpt2BpeTokenizer(model).eod(), 50256);
  std::swap(model.merges[0], model.merges[1]);  // negative control: " t" and " a" change ranks
  std::swap(model.merges[2], model.merges[300]);
  EXPECT_GT(count_differences(model), 0);
}

TEST(Gpt2Bpe, RoundTripOfRandomBytes) {
  const Gpt2BpeTokenizer tokenizer = tiny_tokenizer();
  for (int length : {0, 1, 2, 3, 17, 64, 65, 1000, 20000}) {
    const std::string bytes = random_bytes(length, length);
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(bytes)), bytes) << length;
  }
}

TEST(Gpt2Bpe, LongWordsMergeLikeShortOnes) {
  // Merges of "a" alone: rank 0 makes pairs, rank 1 pairs of pairs. Long words take the path with the heap.
  BpeTrainer trainer;
  for (int i = 0; i < 10; ++i) trainer.add("aaaa");
  const Gpt2BpeTokenizer tokenizer(trainer.train({.vocab_size = 259}));
  ASSERT_EQ(tokenizer.encode("aaaa").size(), 1u);
  for (int length : {60, 63, 64, 65, 66, 67, 100, 4099}) {
    const std::size_t expected = length / 4 + (length % 4 == 3 ? 2 : length % 4 == 0 ? 0 : 1);
    EXPECT_EQ(tokenizer.encode(std::string(length, 'a')).size(), expected) << length;
  }
}

TEST(Gpt2Bpe, EndOfTextInTextIsText) {
  const Gpt2BpeTokenizer tokenizer = tiny_tokenizer();
  const auto ids = tokenizer.encode("<|endoftext|>");
  EXPECT_EQ(std::count(ids.begin(), ids.end(), tokenizer.eod()), 0);
  EXPECT_EQ(tokenizer.decode(std::vector<std::int32_t>{tokenizer.eod()}), "<|endoftext|>");
}

TEST(Gpt2Bpe, ThreadsShareOneTokenizer) {
  const Gpt2BpeTokenizer tokenizer = tiny_tokenizer();
  const std::string text = "the banana and the hat " + random_bytes(1, 500);
  const auto expected = tokenizer.encode(text);
  std::array<int, 4> wrong{};
  std::vector<std::jthread> threads;
  for (int& count : wrong) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) count += tokenizer.encode(text) != expected;
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, (std::array<int, 4>{}));
}

TEST(Gpt2Bpe, DecodeRefusesForeignIds) {
  const Gpt2BpeTokenizer tokenizer = tiny_tokenizer();
  EXPECT_THROW(tokenizer.decode(std::vector<std::int32_t>{-1}), ConfigError);
  EXPECT_THROW(tokenizer.decode(std::vector<std::int32_t>{300}), ConfigError);
}

TEST(Gpt2Bpe, DescriptionFollowsContent) {
  BpeTrainer trainer;
  trainer.add("abc abc");
  const auto a = Gpt2BpeTokenizer(trainer.train({.vocab_size = 258}));
  const auto b = Gpt2BpeTokenizer(trainer.train({.vocab_size = 259}));
  EXPECT_EQ(tiny_tokenizer().description(), tiny_tokenizer().description());
  EXPECT_NE(a.description(), b.description());
}

}  // namespace
}  // namespace ringtron

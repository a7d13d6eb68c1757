#include "ringtron/tokenizer/gpt2_vocab_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/tokenizer/bpe_trainer.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Gpt2VocabFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    BpeTrainer trainer;
    trainer.add("ab ab ab");
    model_ = trainer.train({.vocab_size = 259});
    write_gpt2_vocab_files(model_, vocab_, merges_);
  }

  // Rewrites the vocabulary after `change(json&)`.
  template <class Change>
  void edit_vocabulary(Change change) {
    auto vocabulary = nlohmann::json::parse(read_file(vocab_));
    change(vocabulary);
    write_file_atomically(vocab_, vocabulary.dump());
  }

  std::string error() {
    try {
      read_gpt2_vocab_files(vocab_, merges_);
    } catch (const ConfigError& e) {
      return e.what();
    }
    return "none";
  }

  testing::TempDir folder_;
  std::filesystem::path vocab_ = folder_ / "vocab.json", merges_ = folder_ / "merges.txt";
  BpeModel model_;
};

TEST_F(Gpt2VocabFiles, ReadWhatWasWritten) {
  const BpeModel read = read_gpt2_vocab_files(vocab_, merges_);
  EXPECT_EQ(read.tokens, model_.tokens);
  EXPECT_EQ(read.id_of_byte, model_.id_of_byte);
  EXPECT_EQ(read.end_of_text, model_.end_of_text);
  ASSERT_EQ(read.merges.size(), 2u);
  EXPECT_EQ(read.tokens[read.merges[0].result], "ab");
  EXPECT_EQ(read_file(merges_), "#version: 0.2\na b\n\u0120 ab\n");
  EXPECT_TRUE(read_file(vocab_).starts_with("{\"!\": 0, \"\\\"\": 1, \"#\": 2"));
}

TEST_F(Gpt2VocabFiles, WindowsLineEndsAreFine) {
  write_file_atomically(merges_, "\xef\xbb\xbf#version: 0.2\r\na b\r\nĠ ab\r\n");
  EXPECT_EQ(error(), "none");
  write_file_atomically(merges_, "#version: 0.2\r\na b\r\nĠ ab\r\n");
  EXPECT_EQ(error(), "none");
}

TEST_F(Gpt2VocabFiles, Missing) {
  std::filesystem::remove(merges_);
  EXPECT_THAT(error(), HasSubstr("no such file"));
}

TEST_F(Gpt2VocabFiles, NotJson) {
  write_file_atomically(vocab_, "{\"a\": ");
  EXPECT_THAT(error(), AllOf(HasSubstr("expected JSON"), HasSubstr("cut off or no JSON, at byte 7"),
                             Not(HasSubstr("exception"))));
  write_file_atomically(vocab_, "");
  EXPECT_THAT(error(), HasSubstr("the file is empty"));
  write_file_atomically(vocab_, "[1, 2]");
  EXPECT_THAT(error(), HasSubstr("got array"));
}

TEST_F(Gpt2VocabFiles, IdsWithGapsOrTwice) {
  edit_vocabulary([](auto& v) { v["ab"] = 900; });
  EXPECT_THAT(error(), HasSubstr("must have the ids 0 to 258, but token 'ab' has 900"));
  edit_vocabulary([](auto& v) { v["ab"] = 0; });
  EXPECT_THAT(error(), HasSubstr("id 0 comes twice"));
  edit_vocabulary([](auto& v) { v["ab"] = "x"; });
  EXPECT_THAT(error(), HasSubstr("has \"x\""));
}

TEST_F(Gpt2VocabFiles, WithoutEndOfText) {
  edit_vocabulary([](auto& v) { v.erase("<|endoftext|>"); });
  EXPECT_THAT(error(), HasSubstr("\"<|endoftext|>\": 258"));
}

TEST_F(Gpt2VocabFiles, WithoutAByte) {
  edit_vocabulary([](auto& v) {
    v["something"] = v["q"];
    v.erase("q");
  });
  EXPECT_THAT(error(), HasSubstr("byte 0x71"));
}

TEST_F(Gpt2VocabFiles, MergesOfAnotherVocabulary) {
  write_file_atomically(merges_, "#version: 0.2\na b\nx y\n");
  EXPECT_THAT(error(), HasSubstr("line 3: token 'xy' is not in the vocabulary"));
  write_file_atomically(merges_, "#version: 0.2\nxyz b\n");
  EXPECT_THAT(error(), HasSubstr("line 2: token 'xyz'"));
}

TEST_F(Gpt2VocabFiles, MergesInAnotherForm) {
  write_file_atomically(merges_, "a b\n");
  EXPECT_THAT(error(), HasSubstr("expected '#version: 0.2'"));
  write_file_atomically(merges_, "#version: 0.2\na b c\n");
  EXPECT_THAT(error(), HasSubstr("two tokens"));
  write_file_atomically(merges_, "");
  EXPECT_THAT(error(), HasSubstr("empty"));
}

TEST_F(Gpt2VocabFiles, OtherFilesOfTokenizersAreNamedInShortMessages) {
  const std::string vocabulary = read_file(vocab_), merges = read_file(merges_);
  const auto told = [&](const std::string& content, const std::string& expected) {
    for (const auto& [own, other] : {std::pair{vocab_, merges_}, std::pair{merges_, vocab_}}) {
      write_file_atomically(vocab_, vocabulary);
      write_file_atomically(merges_, merges);
      write_file_atomically(own, content);
      EXPECT_THAT(error(), HasSubstr(expected)) << own;
      EXPECT_LT(error().size(), 600u) << own;
    }
  };
  const std::string filler(1 << 20, 'x');
  told("\n\x0e\n\x05<unk>\x15" + filler, "a SentencePiece model");
  told("\x1f\x8b" + filler, "gzip");
  told(std::string("PAR1\0", 5) + filler, "a binary file");
  told(filler, "expected");
  told("{\"" + filler, "expected");
  write_file_atomically(vocab_, merges);
  write_file_atomically(merges_, vocabulary);
  EXPECT_THAT(error(), HasSubstr("it is a merges.txt"));
  write_file_atomically(vocab_, vocabulary);
  EXPECT_THAT(error(), HasSubstr("exchanged"));
  write_file_atomically(vocab_, "{\"version\": \"1.0\", \"model\": {\"vocab\": " + vocabulary + "}}");
  EXPECT_THAT(error(), HasSubstr("it is a tokenizer.json"));
  write_file_atomically(
      vocab_, "{\"" + filler + "\": \"a\", \"b\": [" + std::string(100000, '[') + std::string(100000, ']') + "]}");
  EXPECT_THAT(error(), HasSubstr("another JSON file"));
  EXPECT_LT(error().size(), 600u);
}

TEST_F(Gpt2VocabFiles, LongTokensAreCutInMessages) {
  const std::string filler(1 << 20, 'x');
  edit_vocabulary([&](auto& v) { v[filler] = std::vector<int>(100000, 1); });
  EXPECT_LT(error().size(), 600u);
  edit_vocabulary([&](auto& v) { v[filler] = 0; });
  EXPECT_LT(error().size(), 600u);
  edit_vocabulary([&](auto& v) { v.erase(filler); });
  write_file_atomically(merges_, "#version: 0.2\na " + filler + "\n");
  EXPECT_LT(error().size(), 600u);
}

TEST_F(Gpt2VocabFiles, MergesThatWereCutOffOrComeTwice) {
  const std::string merges = read_file(merges_);
  write_file_atomically(merges_, "#version: 0.2\na b\n");
  EXPECT_THAT(error(), AllOf(HasSubstr("1 merges"), HasSubstr("of 259 tokens has 1 tokens that no merge makes"),
                             HasSubstr("'Ġab', id 257"), HasSubstr(vocab_.string()), HasSubstr(merges_.string())));
  write_file_atomically(merges_, "#version: 0.2\n");
  EXPECT_THAT(error(), HasSubstr("2 tokens that no merge makes"));
  write_file_atomically(merges_, merges + "a b\n");
  EXPECT_THAT(error(), HasSubstr("'a b' comes twice, as merge 1 and as merge 3"));
}

TEST_F(Gpt2VocabFiles, ALongFileOfMergesThatLacksOnlyItsLast) {
  BpeTrainer trainer;
  for (int i = 0; i < 2000; ++i) trainer.add(std::to_string(i * 7919) + " ");
  write_gpt2_vocab_files(trainer.train({.vocab_size = 700, .min_count = 1}), vocab_, merges_);
  EXPECT_EQ(error(), "none");
  std::string merges = read_file(merges_);
  merges.pop_back();
  write_file_atomically(merges_, merges.substr(0, merges.rfind('\n') + 1));
  EXPECT_THAT(error(), HasSubstr("1 tokens that no merge makes"));
}

TEST_F(Gpt2VocabFiles, AddedTokensNeedNoMerge) {
  edit_vocabulary([](auto& v) {
    for (const char* token : {"<pad>", "<|im_start|>", "[MASK]", "two words"}) v[token] = v.size();
  });
  EXPECT_EQ(error(), "none");
}

TEST_F(Gpt2VocabFiles, DevicesAndPipesAreRefused) {
  vocab_ = "/dev/zero";
  EXPECT_THAT(error(), HasSubstr("expected a file, got a device"));
}

}  // namespace
}  // namespace ringtron

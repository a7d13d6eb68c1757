// Small tokenizers of each kind: their ids are those of Hugging Face's tokenizers library
// (tests/golden/make_tokenizer_golden.py).
#include "ringtron/tokenizer/hugging_face_tokenizer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <thread>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/base/random.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using Ids = std::vector<std::int32_t>;

const std::filesystem::path kFolder = std::filesystem::path(RINGTRON_SOURCE_DIR) / "tests/golden/tokenizers";
constexpr const char* kNames[] = {"gpt2",   "llama3",  "qwen2",   "gpt4o",         "other",
                                  "llama2", "mistral", "unigram", "unigram_bytes", "words"};

const json& golden() {
  static const json document = json::parse(read_file(kFolder / "ids.json"));
  return document;
}

int count_differences(const Tokenizer& tokenizer, const std::string& name, bool say) {
  const json& texts = golden()["texts"];
  int differences = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const Ids expected = golden()["ids"][name][i].get<Ids>();
    const Ids ids = tokenizer.encode(texts[i].get<std::string>());
    differences += ids != expected;
    if (say && ids != expected) ADD_FAILURE() << name << ": " << texts[i];
  }
  return differences;
}

json tokenizer_json(const std::string& name) { return json::parse(read_file(kFolder / name / "tokenizer.json")); }

// Tokenizers of changed files.
class Changed {
 public:
  std::unique_ptr<Tokenizer> make(const std::string& content, const std::string& config) const {
    write_file_atomically(folder_ / "tokenizer.json", content);
    write_file_atomically(folder_ / "tokenizer_config.json", config);
    return std::make_unique<HuggingFaceTokenizer>(folder_.path(), true);
  }
  std::unique_ptr<Tokenizer> make(const json& document, const std::string& config = R"({"eos_token": "</s>"})") const {
    return make(document.dump(), config);
  }

 private:
  testing::TempDir folder_;
};

TEST(HuggingFace, IdsOfTheLibrary) {
  for (const char* name : kNames) {
    EXPECT_EQ(count_differences(HuggingFaceTokenizer(kFolder / name, true), name, true), 0) << name;
  }
}

TEST(HuggingFace, OtherFilesGiveOtherIds) {  // negative control
  const Changed changed;
  json merges = tokenizer_json("qwen2");
  merges["model"]["merges"].erase(merges["model"]["merges"].size() / 2);
  const std::string end = R"({"eos_token": "<|endoftext|>"})";
  EXPECT_GT(count_differences(*changed.make(merges, end), "qwen2", false), 0);
  json form = tokenizer_json("qwen2");
  form["normalizer"] = nullptr;
  EXPECT_GT(count_differences(*changed.make(form, end), "qwen2", false), 0);
  json pattern = tokenizer_json("llama3");
  pattern["pre_tokenizer"] = tokenizer_json("qwen2")["pre_tokenizer"];
  EXPECT_GT(count_differences(*changed.make(pattern, end), "llama3", false), 0);
  json scores = tokenizer_json("unigram");
  for (auto& item : scores["model"]["vocab"]) item[1] = -std::pow(item[0].get<std::string>().size(), 2.0);
  EXPECT_GT(count_differences(*changed.make(scores), "unigram", false), 0);
}

TEST(HuggingFace, SpecialIdsAndEnd) {
  const HuggingFaceTokenizer with(kFolder / "llama2" / "tokenizer.json", true), without(kFolder / "llama2", false);
  Ids ids = with.encode("the fox");
  EXPECT_EQ(ids.front(), 1);
  ids.erase(ids.begin());
  EXPECT_EQ(without.encode("the fox"), ids);
  EXPECT_NE(with.description(), without.description());
  EXPECT_EQ(with.eod(), 2);
  EXPECT_EQ(with.vocab_size(), 360);
  const HuggingFaceTokenizer llama3(kFolder / "llama3", true), words(kFolder / "words", true);
  EXPECT_EQ(llama3.encode("<|endoftext|>"), (Ids{400, 401}));
  EXPECT_EQ(llama3.eod(), 401);
  EXPECT_EQ(words.eod(), 1);  // its sep_token, as in Megatron-LM
  const HuggingFaceTokenizer more(kFolder / "llama3", false, {"<|tool|>", "<|endoftext|>"});
  EXPECT_EQ(more.vocab_size(), llama3.vocab_size() + 1);
  EXPECT_THAT(more.encode("<|tool|>"), ElementsAre(402));
  EXPECT_NE(more.description(), HuggingFaceTokenizer(kFolder / "llama3", false).description());
}

TEST(HuggingFace, FlagsOfTheConfigMakeLlamasTemplate) {
  const Changed changed;
  const json document = tokenizer_json("llama2");
  const auto ids = [&](const char* flags) {
    return changed
        .make(document, fmt::format(R"({{"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>",)"
                                    R"( "eos_token": "</s>", {}}})",
                                    flags))
        ->encode("");
  };
  EXPECT_THAT(ids(R"("add_bos_token": true)"), ElementsAre(1));
  EXPECT_THAT(ids(R"("add_bos_token": false, "add_eos_token": true)"), ElementsAre(2));
}

TEST(HuggingFace, DecodesWhatItEncodes) {
  for (const char* name : {"gpt2", "llama3", "gpt4o", "other", "llama2", "mistral"}) {
    const HuggingFaceTokenizer tokenizer(kFolder / name, false);
    for (const json& text : golden()["texts"]) {
      const auto given = text.get<std::string>();
      // Special tokens, the mark of spaces, and a space that Mistral's decoder takes for that mark do not come back.
      if (given.find('<') != std::string::npos || given.find("\u2581") != std::string::npos) continue;
      if (given.starts_with(' ') && std::string(name) == "mistral") continue;
      EXPECT_EQ(tokenizer.decode(tokenizer.encode(given)), given) << name;
    }
  }
  const HuggingFaceTokenizer unigram(kFolder / "unigram", true);
  EXPECT_EQ(unigram.decode(unigram.encode("the banana")), "the banana");
  EXPECT_THROW(unigram.decode(Ids{100000}), ConfigError);
}

TEST(HuggingFace, BytesThatAreNotUtf8) {
  const HuggingFaceTokenizer tokenizer(kFolder / "qwen2", true);
  EXPECT_EQ(tokenizer.encode("a\xff\xc3z"), tokenizer.encode("a\ufffd\ufffdz"));
}

TEST(HuggingFace, SeveralThreadsAtOnce) {
  const HuggingFaceTokenizer tokenizer(kFolder / "qwen2", true);
  std::vector<int> differences(4, 0);
  std::vector<std::thread> threads;
  for (int& count : differences) {
    threads.emplace_back([&] { count = count_differences(tokenizer, "qwen2", false); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(differences, ::testing::Each(0));
}

TEST(HuggingFace, KindsThatAreNotBuiltAreNamed) {
  const Changed changed;
  const auto refused = [&](const char* pointer, const json& value) {
    json document = tokenizer_json("unigram");
    document[json::json_pointer(pointer)] = value;
    return [&changed, document] { changed.make(document); };
  };
  EXPECT_THAT(refused("/normalizer", {{"type", "BertNormalizer"}}),
              ThrowsMessage<ConfigError>(
                  AllOf(HasSubstr("normalizer: the kind 'BertNormalizer' is not built"), HasSubstr("NFC"))));
  EXPECT_THAT(refused("/pre_tokenizer", {{"type", "UnicodeScripts"}}),
              ThrowsMessage<ConfigError>(HasSubstr("pre_tokenizer: the kind 'UnicodeScripts' is not built")));
  EXPECT_THAT(refused("/model/type", "WordPiece"),
              ThrowsMessage<ConfigError>(HasSubstr("model: the kind 'WordPiece' is not built")));
  EXPECT_THAT(refused("/decoder", {{"type", "CTC"}}), ThrowsMessage<ConfigError>(HasSubstr("decoder: the kind 'CTC'")));
  EXPECT_THAT(refused("/post_processor", {{"type", "BertProcessing"}}),
              ThrowsMessage<ConfigError>(HasSubstr("post_processor: the kind 'BertProcessing'")));
  EXPECT_THAT(refused("/pre_tokenizer",
                      {{"type", "Split"}, {"pattern", {{"Regex", "(a"}}}, {"behavior", "Isolated"}, {"invert", false}}),
              ThrowsMessage<ConfigError>(HasSubstr("cannot read the pattern '(a'")));
  EXPECT_THAT(refused("/model/unk_id", nullptr), ThrowsMessage<ConfigError>(HasSubstr("unk_id")));
}

TEST(HuggingFace, FilesThatCannotBe) {
  const auto make = [](const std::filesystem::path& path) { return [path] { HuggingFaceTokenizer(path, true); }; };
  EXPECT_THAT(make("meta-llama/Llama-3.1-8B"),
              ThrowsMessage<ConfigError>(HasSubstr("hf download meta-llama/Llama-3.1-8B")));
  EXPECT_THAT(make("/no/such/folder"), ThrowsMessage<ConfigError>(HasSubstr("no such file or folder")));
  const testing::TempDir folder;
  EXPECT_THAT(make(folder.path()), ThrowsMessage<ConfigError>(HasSubstr("has no tokenizer.json")));
  write_file_atomically(folder / "tokenizer.model", "x");
  EXPECT_THAT(make(folder.path()), ThrowsMessage<ConfigError>(HasSubstr("Llama2Tokenizer")));
  EXPECT_THAT(make(kFolder / "ids.json"), ThrowsMessage<ConfigError>(HasSubstr("expected a tokenizer.json")));
  const Changed changed;
  const std::string content = read_file(kFolder / "qwen2" / "tokenizer.json");
  EXPECT_THAT([&] { changed.make(content.substr(0, 500), "{}"); }, ThrowsMessage<ConfigError>(HasSubstr("cut off")));
  EXPECT_THAT([&] { changed.make(content, "{}"); }, ThrowsMessage<ConfigError>(HasSubstr("eos_token")));
  EXPECT_THAT([&] { changed.make(content, "[]"); }, ThrowsMessage<ConfigError>(HasSubstr("expected a JSON object")));
}

// Any damage is refused by a ConfigError or gives a tokenizer that works.
TEST(HuggingFace, DamagedFiles) {
  const Changed changed;
  int refused = 0, taken = 0;
  for (const char* name : {"llama3", "unigram_bytes", "words"}) {
    const std::string content = read_file(kFolder / name / "tokenizer.json");
    for (std::uint64_t trial = 0; trial < 60; ++trial) {
      const auto word = [&](std::uint64_t i) { return random_word(11, trial, i); };
      std::string damaged = content;
      for (std::uint64_t k = 0; k <= trial % 4; ++k) {
        // Half of the places are before the vocabulary, where the kinds are told.
        const std::size_t place = word(3 * k) % (word(3 * k + 1) % 2 == 0 ? damaged.size() : 2000);
        const std::string piece = damaged.substr(word(3 * k + 2) % damaged.size(), 1 + word(3 * k + 1) % 6);
        damaged.replace(place, trial % 3 == 0 ? 0 : piece.size(), piece);
      }
      try {
        const auto tokenizer = changed.make(damaged, R"({"eos_token": "</s>"})");
        tokenizer->decode(tokenizer->encode("the quick 12 brown <s> Zürich"));
        ++taken;
      } catch (const ConfigError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 20);
  EXPECT_GT(taken, 2);
}

}  // namespace
}  // namespace ringtron

// TikTokenizer: ids of the tiktoken library with Megatron-LM's special tokens (tests/golden/make_tokenizer_golden.py).
#include "ringtron/tokenizer/tiktoken_tokenizer.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using Ids = std::vector<std::int32_t>;

const std::filesystem::path kFolder = std::filesystem::path(RINGTRON_SOURCE_DIR) / "tests/golden/tokenizers";
const std::filesystem::path kFile = kFolder / "tiktoken.json";

const json& golden() {
  static const json document = json::parse(read_file(kFolder / "ids.json"));
  return document;
}

TikTokenOptions options(TikTokenPattern pattern) {
  return {.pattern = pattern,
          .vocab_size = golden()["tiktoken"]["vocab_size"],
          .special_count = golden()["tiktoken"]["special"]};
}

int count_differences(const Tokenizer& tokenizer, const char* pattern) {
  int differences = 0;
  const json& texts = golden()["texts"];
  for (std::size_t i = 0; i < texts.size(); ++i) {
    differences += tokenizer.encode(texts[i].get<std::string>()) != golden()["tiktoken"]["ids"][pattern][i].get<Ids>();
  }
  return differences;
}

TEST(TikToken, IdsOfTheLibrary) {
  for (const auto& file : {kFile, kFolder / "plain.tiktoken"}) {
    const TikTokenTokenizer v1(file, options(TikTokenPattern::v1)), v2(file, options(TikTokenPattern::v2));
    EXPECT_EQ(count_differences(v1, "v1"), 0);
    EXPECT_EQ(count_differences(v2, "v2"), 0);
    EXPECT_GT(count_differences(v1, "v2"), 0);  // negative control
    EXPECT_EQ(v2.eod(), 2);
    EXPECT_EQ(v2.vocab_size(), golden()["tiktoken"]["vocab_size"]);
    EXPECT_EQ(v2.encode("</s><SPECIAL_9>"), (Ids{2, 9}));
    const std::string text = "the quick Zürich\n 123";
    EXPECT_EQ(v2.decode(v2.encode(text)), text);
    EXPECT_THROW(v2.decode(Ids{100000}), ConfigError);
    EXPECT_NE(v1.description(), v2.description());
  }
}

TEST(TikToken, SpecialTokensOfOnesOwn) {
  TikTokenOptions own = options(TikTokenPattern::v2);
  own.special_tokens = {"</s>", "<unk>", "<s>", "<mask>", "<pad>", "<cls>", "<sep>", "<mine>"};
  const TikTokenTokenizer tokenizer(kFile, own);
  EXPECT_EQ(tokenizer.eod(), 0);
  EXPECT_EQ(tokenizer.encode("<mine>"), Ids{7});
  own.special_tokens.back() = "<s>";
  EXPECT_THAT([&] { TikTokenTokenizer(kFile, own); }, ThrowsMessage<ConfigError>(HasSubstr("each once")));
  own.special_tokens = {"<s>"};
  EXPECT_THAT([&] { TikTokenTokenizer(kFile, own); }, ThrowsMessage<ConfigError>(HasSubstr("expected <unk>")));
}

TEST(TikToken, FilesThatCannotBe) {
  const testing::TempDir folder;
  const auto with = [&](const std::string& name, const std::string& content) {
    write_file_atomically(folder / name, content);
    return [path = folder / name] { TikTokenTokenizer(path, options(TikTokenPattern::v2)); };
  };
  EXPECT_THAT([&] { TikTokenTokenizer(folder / "none.json", {}); }, ThrowsMessage<ConfigError>(HasSubstr("none.json")));
  EXPECT_THAT(with("a.json", "{}"), ThrowsMessage<ConfigError>(HasSubstr("expected an array")));
  EXPECT_THAT(with("b.json", R"([{"rank": 1, "token_bytes": "AA=="}])"),
              ThrowsMessage<ConfigError>(HasSubstr("rank 0")));
  EXPECT_THAT(with("c.json", R"([{"rank": 0, "token_bytes": "!"}])"), ThrowsMessage<ConfigError>(HasSubstr("base64")));
  EXPECT_THAT(with("d.tiktoken", "AA== 0\nAA== 1\n"), ThrowsMessage<ConfigError>(HasSubstr("comes twice")));
  EXPECT_THAT(with("e.tiktoken", "AA== 0\n"), ThrowsMessage<ConfigError>(HasSubstr("byte 1 is no token")));
  EXPECT_THAT(with("f.tiktoken", "AA== x\n"), ThrowsMessage<ConfigError>(HasSubstr("line 1")));
  EXPECT_THAT([] { TikTokenTokenizer(kFile, {}); }, ThrowsMessage<ConfigError>(HasSubstr("--vocab-size 131072")));
}

}  // namespace
}  // namespace ringtron

// A ResolvedConfig has one maker, cannot be changed, and has everything filled in.
#include "ringtron/config/resolved_config.h"

#include <gmock/gmock.h>

#include <type_traits>

#include "ringtron/base/error.h"
#include "ringtron/config/config_text.h"
#include "ringtron/config/parse.h"
#include "ringtron/config/validate.h"
#include "tests/config/example_flags.h"

namespace ringtron {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

static_assert(!std::is_aggregate_v<ResolvedConfig> && !std::is_default_constructible_v<ResolvedConfig>);
static_assert(!std::is_constructible_v<ResolvedConfig, Config> &&
              !std::is_constructible_v<ResolvedConfig, Config, int>);
static_assert(!std::is_convertible_v<Config, ResolvedConfig> && !std::is_default_constructible_v<Resolution>);
static_assert(!std::is_convertible_v<ResolvedConfig&, Config&>);
static_assert(std::is_same_v<decltype(std::declval<ResolvedConfig&>().operator->()), const Config*>);

Config example(const std::string& with = "") { return parse_flags(example_1_with(with)).line.config; }

TEST(ResolvedConfig, HasTheVocabularyAndWhatFollows) {
  const Resolution resolution = resolve(example(), kExample1Ranks, 50257);
  EXPECT_THAT(resolution.faults(), IsEmpty());
  const ResolvedConfig config = resolution.valid();
  EXPECT_EQ(config->data.vocab_size, 50257);
  EXPECT_EQ(config->model.padded_vocab_size, 50688);  // TP 4
  EXPECT_GT(config->model.ffn_hidden_size, 0);
  EXPECT_EQ(config.world_size(), kExample1Ranks);
  EXPECT_EQ(config.data_parallel_size(), data_parallel_size(config->parallel, kExample1Ranks));
}

TEST(ResolvedConfig, OfAResolvedOneIsTheSame) {
  const ResolvedConfig once = resolve(example(), kExample1Ranks, 50257).valid();
  EXPECT_EQ(fingerprint_text(resolve(once, kExample1Ranks, 50257).valid()), fingerprint_text(once));
}

TEST(ResolvedConfig, IsNotMadeOfFaults) {
  const Resolution faulty = resolve(example("--normalization RMSNorm --lr-decay-style WSD"), kExample1Ranks, 50257);
  EXPECT_THAT(faulty.faults(), ElementsAre(HasSubstr("--lr-decay-style WSD")));
  EXPECT_THROW(faulty.valid(), ConfigError);
  EXPECT_EQ(faulty.despite_faults()->model.padded_vocab_size, 50688);
}

TEST(ResolvedConfig, TheVocabularyMustFit) {
  EXPECT_THAT(resolve(example("--padded-vocab-size 1000"), kExample1Ranks, 50257).faults(),
              ElementsAre(HasSubstr("--padded-vocab-size 1000 is below the tokenizer's vocabulary of 50257")));
  EXPECT_THAT(resolve(example("--padded-vocab-size 1000 --vocab-size 500"), kExample1Ranks, 50257).faults(),
              ElementsAre(HasSubstr("--padded-vocab-size 1000 is below")));
  EXPECT_THAT(resolve(example("--padded-vocab-size 1000 --vocab-size 1001"), kExample1Ranks, 1001).faults(),
              ElementsAre(HasSubstr("expected at least --vocab-size 1001")));
  EXPECT_THAT(resolve(example(), kExample1Ranks, 0).faults(), ElementsAre(HasSubstr("expected a vocabulary")));
  EXPECT_THAT(resolve(example(), kExample1Ranks, (std::int64_t{1} << 31) - 1).faults(),
              ElementsAre(HasSubstr("below 2^31")));
}

TEST(PadVocabSize, OfGpt2) {
  EXPECT_EQ(pad_vocab_size(50257, 128, 1), 50304);
  EXPECT_EQ(pad_vocab_size(50257, 128, 2), 50432);
  EXPECT_EQ(pad_vocab_size(50257, 128, 4), 50688);
  EXPECT_EQ(pad_vocab_size(50257, 128, 8), 51200);
  EXPECT_EQ(pad_vocab_size(256, 128, 2), 256);
  EXPECT_THROW(pad_vocab_size(0, 128, 1), ConfigError);
  EXPECT_THROW(pad_vocab_size(50257, 0, 1), ConfigError);
}

}  // namespace
}  // namespace ringtron

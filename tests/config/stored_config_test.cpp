// A checkpoint's configuration: what it says is read strictly, and every field is compared as its flag declares.
#include "ringtron/config/stored_config.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/config/config_text.h"
#include "ringtron/config/help.h"
#include "ringtron/config/option.h"
#include "ringtron/config/validate.h"

namespace ringtron {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Rotary positions, so that their flags have an effect.
Config base() {
  Config config;
  config.model.num_layers = 2;
  config.model.hybrid_layer_pattern = "M*";
  config.model.mamba_num_heads = 8;
  config.model.hidden_size = 64;
  config.model.num_attention_heads = 4;
  config.model.seq_length = config.model.max_position_embeddings = 64;
  config.model.position_embedding_type = PositionEmbedding::rope;
  config.batch.micro_batch_size = 2;
  config.batch.global_batch_size = 4;
  config.batch.train_iters = 10;
  config.optimizer.lr = 1e-3;
  config.data.vocab_size = 100;
  config.data.data_path = {"corpus"};
  config.data.split = "99,1,0";
  return fill_defaults(config, 1).config;
}

json stored(const Config& config) { return json::parse(config_to_json(config)); }

StoredDifferences compare(const json& there, const Config& here) {
  return internal::compare_configurations(read_stored_config(there), here, {});
}

// Another legal value of a member that is no choice.
template <class T>
void change_value(const Option& option, T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    value = !value;
  } else if constexpr (std::is_same_v<T, int> || std::is_same_v<T, std::int64_t>) {
    value += 1;
  } else if constexpr (std::is_same_v<T, double>) {
    value = value >= 0.5 && option.limits.at_most ? value / 2 : value + 0.0625;
  } else if constexpr (std::is_same_v<T, std::optional<double>>) {
    value = 0.25;
  } else if constexpr (std::is_same_v<T, std::string>) {
    value += "other";
  } else if constexpr (std::is_same_v<T, std::vector<int>>) {
    value.assign({7, 0});
  } else {
    value.assign({"another"});
  }
}

// Another legal value of the field.
void change(const Option& option, Config& config) {
  const auto visit = [&](auto member) {
    if constexpr (std::is_same_v<decltype(member), ChoiceRef>) {
      const std::string before(member.word());
      for (const std::string_view word : member.words()) {
        if (word != before) member.read(word);
      }
    } else {
      change_value(option, *member);
    }
  };
  std::visit(visit, option.field(config));
}

// Which lines a changed field gives, in a run with these flags.
struct Case {
  bool finetune = false, skip_train = false, override_schedule = false;
};

StoredDifferences difference_of(const Option& option, const Case& flags) {
  Config here = base();
  here.checkpoint.finetune = flags.finetune;
  here.batch.skip_train = flags.skip_train;
  here.optimizer.override_opt_param_scheduler = flags.override_schedule;
  here.model.use_rope_scaling = option.name == "--rope-scaling-factor";
  if (option.detail.needs == "--position-embedding-type yarn")
    here.model.position_embedding_type = PositionEmbedding::yarn;
  const json there = stored(here);
  change(option, here);
  // The flags of the case count, also where one of them is the field that is changed.
  return compare(there, here);
}

// A value as messages name it: 0 of a length or a schedule is not what anybody gave.
std::string said(const Option& option, const Config& config) {
  const std::string value = option_value(option, config);
  return (value == "0" || value == "None") && !option.detail.default_text.empty() ? "not given" : value;
}

void expect_named(const std::vector<std::string>& lines, const Option& option) {
  ASSERT_EQ(lines.size(), 1u) << option.name << ": " << testing::PrintToString(lines);
  Config here = base();
  const std::string before = said(option, here);
  change(option, here);
  EXPECT_THAT(lines[0], AllOf(HasSubstr(std::string(option.name)), HasSubstr(before + " in the checkpoint"),
                              HasSubstr(said(option, here) + " here")));
}

TEST(StoredConfig, EveryFieldDoesWhatItDeclares) {
  int walked = 0;
  for (const OptionGroup& group : option_groups()) {
    for (const Option& option : group.options) {
      SCOPED_TRACE(option.name);
      ++walked;
      if (option_choices(option).size() == 1) continue;  // there is no other value
      const StoredDifferences resumed = difference_of(option, {});
      const StoredDifferences tuned = difference_of(option, {.finetune = option.name != "--finetune"});
      switch (option.on_load) {
        case OnLoad::must_equal:
          expect_named(resumed.refused, option);
          expect_named(tuned.refused, option);
          expect_named(difference_of(option, {.skip_train = true}).refused, option);
          break;
        case OnLoad::finetune:
          expect_named(resumed.refused, option);
          EXPECT_THAT(tuned.refused, IsEmpty());
          expect_named(tuned.told, option);
          break;
        case OnLoad::positions:  // base() has rotary ones
        case OnLoad::samples:
        case OnLoad::told:
          EXPECT_THAT(resumed.refused, IsEmpty());
          expect_named(resumed.told, option);
          EXPECT_THAT(tuned.told, IsEmpty());
          break;
        case OnLoad::schedule:
          EXPECT_THAT(resumed.told, IsEmpty()) << "the schedule itself refuses";
          expect_named(difference_of(option, {.override_schedule = true}).told, option);
          break;
        case OnLoad::free:
          EXPECT_THAT(resumed.told, IsEmpty());
          EXPECT_THAT(resumed.refused, IsEmpty());
          break;
      }
    }
  }
  EXPECT_GT(walked, 100);
}

TEST(StoredConfig, LearnedPositionsFixTheirNumber) {
  Config here = base();
  here.model.position_embedding_type = PositionEmbedding::learned_absolute;
  const json there = stored(here);
  here.model.max_position_embeddings = 128;
  EXPECT_THAT(compare(there, here).refused, ElementsAre("--max-position-embeddings: 64 in the checkpoint, 128 here"));
  here.model.max_position_embeddings = 64;
  here.model.rotary_base = 5e5;  // nothing is rotated
  EXPECT_THAT(compare(there, here).refused, IsEmpty());
}

TEST(StoredConfig, AllDifferencesAtOnce) {
  Config here = base();
  const json there = stored(here);
  here.model.num_attention_heads = 2;
  here.model.normalization = Normalization::rms_norm;
  here.model.add_bias_linear = false;
  here.precision.seed = 5;
  here.parallel.tensor_model_parallel_size = 2;
  const StoredDifferences got = compare(there, here);
  EXPECT_THAT(got.refused, ElementsAre("--num-attention-heads: 4 in the checkpoint, 2 here",
                                       "--normalization: LayerNorm in the checkpoint, RMSNorm here",
                                       "--disable-bias-linear (add_bias_linear): True in the checkpoint, False here"));
  EXPECT_THAT(got.told, ElementsAre(HasSubstr("--seed: 1234 in the checkpoint, 5 here")));
}

TEST(StoredConfig, WhatWasNotGivenIsNotZero) {
  Config here = base();
  here.batch.train_iters = 4;
  here.batch.train_samples = 0;
  const json there = stored(here);
  here.batch.train_iters = 0;
  here.batch.train_samples = 32;
  here.optimizer.override_opt_param_scheduler = true;
  EXPECT_THAT(compare(there, here).told,
              testing::IsSupersetOf({HasSubstr("--train-iters: 4 in the checkpoint, not given here"),
                                     HasSubstr("--train-samples: not given in the checkpoint, 32 here")}));
}

TEST(StoredConfig, WhatMeansTheSameIsNoDifference) {
  Config here = base();
  here.data.split = "99,1,0";
  here.model.window_size = {-1, 0};
  json there = stored(here);
  here.data.split = "99, 1, 0";
  here.model.window_size.clear();
  EXPECT_THAT(compare(there, here).refused, IsEmpty());
  EXPECT_THAT(compare(there, here).told, IsEmpty());
}

TEST(StoredConfig, OlderAndNewerVersions) {
  json there = stored(base());
  there.erase("softmax_type");  // an older version knew vanilla only
  there.erase("num_layers");    // no default: nobody knows
  there["vocab_size"] = 0;      // versions before this one did not fill it in
  there["of_the_future"] = 1;
  Config here = base();
  EXPECT_THAT(compare(there, here).refused, IsEmpty());
  EXPECT_THAT(compare(there, here).told,
              ElementsAre("not recorded in the checkpoint and not compared: --num-layers, --vocab-size",
                          HasSubstr("unknown here and not compared: of_the_future")));
  there.erase("hybrid_layer_pattern");  // an older version knew transformer layers only
  EXPECT_THAT(compare(there, here).refused,
              ElementsAre(HasSubstr("--hybrid-layer-pattern: None in the checkpoint, M* here"),
                          HasSubstr("--mamba-num-heads")));
  here.model.hybrid_layer_pattern.clear();
  there["mamba_num_heads"] = 0;
  EXPECT_THAT(compare(there, here).refused, IsEmpty());
  here.model.softmax_type = SoftmaxKind::learnable;
  EXPECT_THAT(compare(there, here).refused, ElementsAre(HasSubstr("--softmax-type: vanilla in the checkpoint")));
}

// Files of the same name may hold another vocabulary.
TEST(StoredConfig, AVocabularyOfOtherContentIsRefused) {
  Config here = base();
  json there = stored(here);
  const DerivedValues first = {{kVocabularyKey, "GPT2BPETokenizer content=1"}},
                      second = {{kVocabularyKey, "GPT2BPETokenizer content=2"}};
  const auto compared = [&](const DerivedValues& derived) {
    return internal::compare_configurations(read_stored_config(there), here, derived);
  };
  EXPECT_THAT(compared(second).told,
              ElementsAre("not recorded in the checkpoint and not compared: content of the tokenizer's files"))
      << "an older checkpoint";
  EXPECT_THAT(compared(second).refused, IsEmpty());
  there[kVocabularyKey] = first.at(kVocabularyKey);
  EXPECT_THAT(compared(first).refused, IsEmpty());
  EXPECT_THAT(compared(first).told, IsEmpty());
  const auto expected =
      ElementsAre(AllOf(HasSubstr("content of the tokenizer's files (vocabulary): GPT2BPETokenizer content=1 in "
                                  "the checkpoint, GPT2BPETokenizer content=2 here"),
                        HasSubstr("Give the files")));
  EXPECT_THAT(compared(second).refused, expected);
  here.checkpoint.finetune = true;
  EXPECT_THAT(compared(second).refused, expected) << "the weights are those of other ids all the same";
  here.data.vocab_size += 1;
  EXPECT_THAT(compared(second).refused, ElementsAre(HasSubstr("--vocab-size"))) << "told once";
  there[kVocabularyKey] = 5;
  EXPECT_THROW(read_stored_config(there), IoError);
}

TEST(StoredConfig, WrongTypesAndImpossibleValuesAreNamed) {
  const json right = stored(base());
  const auto fault = [&](const char* key, const json& value) {
    json wrong = right;
    wrong[key] = value;
    try {
      read_stored_config(wrong);
    } catch (const IoError& e) {
      EXPECT_THAT(e.what(), HasSubstr(std::string("configuration.") + key));
      return true;
    }
    return false;
  };
  for (const json& value : {json("2"), json(2.5), json(2.0), json(true), json(nullptr), json(json::array({2})),
                            json(3'000'000'000), json(18'446'744'073'709'551'615ull), json(-1)}) {
    EXPECT_TRUE(fault("num_layers", value)) << value;
  }
  for (const json& value : {json("0.1"), json(nullptr), json(false), json(1.5), json(-0.5)}) {
    EXPECT_TRUE(fault("hidden_dropout", value)) << value;
  }
  EXPECT_TRUE(fault("normalization", "GroupNorm"));
  EXPECT_TRUE(fault("normalization", 1));
  EXPECT_TRUE(fault("swiglu", 1));
  EXPECT_TRUE(fault("data_path", "corpus"));
  EXPECT_TRUE(fault("data_path", json::array({"corpus", 1})));
  EXPECT_TRUE(fault("window_size", json::array({1.5, 0})));
  EXPECT_FALSE(fault("cp_comm_type", json::array({"of_an_older_version"}))) << "free: not its business";
  EXPECT_THROW(read_stored_config(json::array()), IoError);
  EXPECT_THROW(read_stored_config(nullptr), IoError);
}

TEST(LoadTable, StandsInTheDocument) {
  const std::string page = read_file(RINGTRON_SOURCE_DIR "/docs/concepts/checkpoints.md");
  EXPECT_THAT(page, HasSubstr("\n" + load_table_markdown()))
      << "write it anew: pretrain_gpt --help=load, into docs/concepts/checkpoints.md";
  EXPECT_EQ(help_text("load", 80) + "\n", load_table_markdown());
}

}  // namespace
}  // namespace ringtron

// The tables themselves: no name twice, every default legal, every Megatron flag judged, no name lost by
// accident.
#include "ringtron/config/option.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "ringtron/base/file.h"
#include "ringtron/base/text.h"
#include "ringtron/config/megatron_compat.h"

namespace ringtron {
namespace {

std::vector<std::string> lines_of(const std::string& file) {
  std::vector<std::string> lines;
  for (const std::string& line : split(read_file(std::string(RINGTRON_SOURCE_DIR "/tests/config/") + file), '\n')) {
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

std::vector<const Option*> all_options() {
  std::vector<const Option*> all;
  for (const OptionGroup& group : option_groups()) {
    for (const Option& option : group.options) all.push_back(&option);
  }
  return all;
}

TEST(Option, NamesAreUniqueInBothTables) {
  std::set<std::string_view> names;
  std::set<std::string> keys;
  for (const Option* option : all_options()) {
    EXPECT_TRUE(names.insert(option->name).second) << option->name;
    EXPECT_TRUE(keys.insert(option_key(*option)).second) << option->name;
    EXPECT_EQ(option->name.find('_'), std::string_view::npos) << option->name;
    EXPECT_FALSE(option->help.empty()) << option->name;
  }
  for (const auto table : {accepted_flags(), refused_flags()}) {
    for (const ForeignFlag& flag : table) {
      EXPECT_TRUE(names.insert(flag.name).second) << flag.name << " stands in two tables";
      EXPECT_FALSE(flag.reason.empty()) << flag.name;
    }
  }
}

TEST(Option, EveryDefaultIsInsideItsRange) {
  for (const Option* option : all_options()) {
    EXPECT_EQ(check_option(*option, Config()), std::nullopt) << option->name;
  }
}

TEST(Option, EveryFieldIsSetByExactlyOneFlag) {
  Config config;
  std::set<const void*> fields;
  for (const Option* option : all_options()) {
    const auto address = [](auto member) -> const void* {
      if constexpr (std::is_same_v<decltype(member), ChoiceRef>)
        return member.address();
      else
        return member;
    };
    const void* field = std::visit(address, option->field(config));
    EXPECT_TRUE(fields.insert(field).second) << option->name;
  }
}

TEST(Option, VerdictsOtherThanSameSayWhy) {
  for (const Option* option : all_options()) {
    if (option->compat != Compat::same) {
      EXPECT_FALSE(option->detail.note.empty()) << option->name;
    }
  }
}

TEST(Option, EveryMegatronFlagHasAVerdict) {
  for (std::string name : lines_of("megatron_flag_names.txt")) {
    std::replace(name.begin(), name.end(), '_', '-');
    EXPECT_TRUE(find_option(name) != nullptr || find_foreign_flag(name) != nullptr) << name;
  }
  EXPECT_EQ(find_foreign_flag("--not-a-megatron-flag"), nullptr);
}

TEST(Option, NamesAreTheFrozenOnes) {
  std::vector<std::string> names;
  for (const Option* option : all_options()) names.emplace_back(option->name);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, lines_of("flag_names.golden")) << "a flag was renamed, added or lost; scripts depend on names, so "
                                                     "change flag_names.golden only on purpose";
}

TEST(Option, ReadsEachTypeAndRefusesTheRest) {
  Config config;
  const auto set = [&](const char* name, std::vector<std::string> values) {
    return set_option(*find_option(name), values, config);
  };
  EXPECT_EQ(set("--num-layers", {"32"}), std::nullopt);
  EXPECT_EQ(config.model.num_layers, 32);
  EXPECT_EQ(set("--train-samples", {"5000000000"}), std::nullopt);
  EXPECT_EQ(config.batch.train_samples, 5'000'000'000);
  EXPECT_EQ(set("--lr", {"1.0e-4"}), std::nullopt);
  EXPECT_EQ(config.optimizer.lr, 1e-4);
  EXPECT_EQ(set("--lr-warmup-fraction", {"0.01"}), std::nullopt);
  EXPECT_EQ(config.optimizer.lr_warmup_fraction, 0.01);
  EXPECT_EQ(set("--data-path", {"0.3", "a", "0.7", "b"}), std::nullopt);
  EXPECT_THAT(config.data.data_path, testing::ElementsAre("0.3", "a", "0.7", "b"));
  EXPECT_EQ(set("--hierarchical-context-parallel-sizes", {"2", "4"}), std::nullopt);
  EXPECT_THAT(config.parallel.hierarchical_context_parallel_sizes, testing::ElementsAre(2, 4));
  EXPECT_EQ(set("--disable-bias-linear", {}), std::nullopt);
  EXPECT_FALSE(config.model.add_bias_linear);

  EXPECT_EQ(set("--num-layers", {"1e3"}), "expected a whole number, got '1e3'");
  EXPECT_EQ(set("--num-layers", {"5000000000"}), "expected at most 2147483647, got 5000000000");
  EXPECT_EQ(set("--num-layers", {"+5000000000"}), "expected at most 2147483647, got +5000000000");
  EXPECT_EQ(set("--num-layers", {"-5000000000"}), "expected at least 1, got -5000000000");
  EXPECT_EQ(set("--num-layers", {"5000000000x"}), "expected a whole number, got '5000000000x'");
  EXPECT_EQ(set("--train-samples", {"9223372036854775808"}),
            "expected at most 9223372036854775807, got 9223372036854775808");
  EXPECT_EQ(set("--hierarchical-context-parallel-sizes", {"2", "99999999999"}),
            "expected at most 2147483647, got 99999999999");
  EXPECT_EQ(set("--num-layers", {""}), "expected a whole number, got ''");
  EXPECT_EQ(set("--num-layers", {"0"}), "expected at least 1, got 0");
  EXPECT_EQ(set("--lr", {"nan"}), "expected a finite number, got 'nan'");
  EXPECT_EQ(set("--hidden-dropout", {"1"}), "expected at least 0 and below 1, got 1");
  EXPECT_EQ(set("--seed", {"0"}), "expected at least 1, got 0");
  EXPECT_EQ(set("--normalization", {"rms"}), "expected one of LayerNorm, RMSNorm, got 'rms'");
  EXPECT_EQ(config.model.num_layers, 32) << "a refused value must not change the field";
}

// Flags whose member is an enum: the table of its words is all they know.
TEST(Option, ChoicesReadAndPrintTheirWordsAndRefuseOthers) {
  int choices = 0;
  for (const Option* option : all_options()) {
    Config config;
    const FieldRef field = option->field(config);
    if (!std::holds_alternative<ChoiceRef>(field)) continue;
    SCOPED_TRACE(option->name);
    ++choices;
    const std::vector<std::string> words = option_choices(*option);
    EXPECT_EQ(option_placeholder(*option), "{" + join(words, ",") + "}");
    for (const std::string& word : words) {
      EXPECT_EQ(set_option(*option, std::vector{word}, config), std::nullopt) << word;
      EXPECT_EQ(option_value(*option, config), word);
    }
    const std::string one_of = words.size() > 1 ? "one of " : "";
    for (const std::string& other : {std::string("other"), std::string(), words.back() + "x"}) {
      EXPECT_EQ(set_option(*option, std::vector{other}, config),
                "expected " + one_of + join(words, ", ") + ", got '" + other + "'");
    }
    EXPECT_EQ(option_value(*option, config), words.back()) << "a refused word must not change the field";
  }
  EXPECT_EQ(choices, 21);
}

// "Not given" is none of the words.
TEST(Option, AnOptionalChoicePrintsNoneWhereItIsNotGiven) {
  for (const char* name : {"--distributed-backend", "--recompute-granularity", "--recompute-method"}) {
    EXPECT_EQ(option_value(*find_option(name), Config{}), "None") << name;
  }
}

}  // namespace
}  // namespace ringtron

// The order of samples of whole command lines, against what the megatron-core wheel's own builder made of them: see
// tests/golden/make_data_order_golden.py.
#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"
#include "ringtron/data/indexed_dataset_writer.h"
#include "ringtron/data/open_split.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

nlohmann::json golden() {
  std::ifstream file(std::string(RINGTRON_SOURCE_DIR) + "/tests/golden/data_order.json");
  return nlohmann::json::parse(file);
}

// The corpora of tests/golden/data_order.py.
void write_corpora(const testing::TempDir& dir, const nlohmann::json& corpora) {
  for (std::size_t i = 0; i < corpora.size(); ++i) {
    const std::int64_t documents = corpora[i][0], shortest = corpora[i][1], lengths = corpora[i][2];
    IndexedDatasetWriter writer((dir / ("c" + std::to_string(i))).string(), TokenType::u16);
    for (std::int64_t d = 0; d < documents; ++d) {
      std::vector<std::int32_t> tokens(static_cast<std::size_t>(shortest + (d * 7919 + documents) % lengths));
      for (std::size_t p = 0; p < tokens.size(); ++p) {
        tokens[p] = static_cast<std::int32_t>((documents * 131 + d * 31 + static_cast<std::int64_t>(p)) % 997);
      }
      writer.add_sequence(tokens);
      writer.end_document();
    }
    writer.finish();
  }
}

std::vector<std::string> words(const testing::TempDir& dir, const nlohmann::json& flags, const char* name) {
  std::vector<std::string> out;
  if (!flags.contains(name) || flags.at(name).is_null()) return out;
  for (const std::string word : flags.at(name)) out.push_back(word[0] == 'c' ? (dir / word).string() : word);
  return out;
}

DataSources sources(const testing::TempDir& dir, const nlohmann::json& flags) {
  DataSources out;
  out.data_path = words(dir, flags, "data-path");
  out.train_data_path = words(dir, flags, "train-data-path");
  out.valid_data_path = words(dir, flags, "valid-data-path");
  out.test_data_path = words(dir, flags, "test-data-path");
  out.split = flags.value("split", "");
  out.sequence_length = flags.at("seq-length");
  out.seed = flags.at("seed");
  out.cache_folder = (dir / "c0.bin" / "none").string();  // below a file: nothing is cached
  return out;
}

std::vector<std::int64_t> compared(std::int64_t size) {
  std::vector<std::int64_t> numbers;
  for (std::int64_t n = 0; n < std::min<std::int64_t>(size, 300); ++n) numbers.push_back(n);
  for (std::int64_t n = std::max<std::int64_t>(300, size - 50); n < size; ++n) numbers.push_back(n);
  return numbers;
}

std::string fingerprint(const Dataset& dataset) {
  std::uint64_t value = 0xCBF29CE484222325u;
  for (const std::int64_t n : compared(dataset.size())) {
    for (const std::int32_t token : dataset.sample(n))
      value = (value ^ static_cast<std::uint64_t>(token)) * 0x100000001B3u;
  }
  return hex64(value);
}

void expect_part(const Dataset* ours, const nlohmann::json& theirs) {
  if (theirs.is_null() || theirs.at("size") == 0) {
    EXPECT_EQ(ours, nullptr);
    return;
  }
  ASSERT_NE(ours, nullptr);
  EXPECT_EQ(ours->size(), theirs.at("size").get<std::int64_t>());
  EXPECT_EQ(fingerprint(*ours), theirs.at("hash").get<std::string>());
  if (!theirs.contains("first")) return;
  for (std::size_t i = 0; i < theirs.at("first").size(); ++i) {
    EXPECT_EQ(ours->sample(static_cast<std::int64_t>(i)), theirs["first"][i].get<std::vector<std::int32_t>>());
  }
}

TEST(DataOrder, IsThatOfTheMegatronCoreWheel) {
  const auto all = golden();
  const testing::TempDir dir;
  write_corpora(dir, all.at("corpora"));
  int accepted = 0, by_weight = 0, by_size = 0, one_with_weight = 0;
  for (const auto& row : all.at("combinations")) {
    if (row.contains("raises")) continue;
    SCOPED_TRACE(row.dump().substr(0, 600));
    ++accepted;
    const DataSources from = sources(dir, row.at("flags"));
    const Blend blend = parse_blend(from.data_path.empty() ? from.train_data_path : from.data_path, "--data-path");
    if (blend.prefixes.size() > 1) (blend.weights.empty() ? by_size : by_weight) += 1;
    if (blend.prefixes.size() == 1 && !blend.weights.empty()) ++one_with_weight;
    for (int i = 0; i < kSplitCount; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const auto dataset = open_split(from, static_cast<Split>(i), row.at("wanted")[at], {});
      expect_part(dataset.get(), row.at("parts")[at]);
    }
    if (HasFailure()) break;  // one is enough to read
  }
  EXPECT_GE(accepted, 200);
  for (const int count : {by_weight, by_size, one_with_weight}) EXPECT_GE(count, 10) << "too few of a kind";
}

// What the wheel refuses, or never ends, is refused here too, or read without the corpora that have nothing, with a
// word; it never ends in an internal error.
TEST(DataOrder, WhatTheWheelRefusesIsToldOrLeftOut) {
  const auto all = golden();
  const testing::TempDir dir;
  write_corpora(dir, all.at("corpora"));
  int refused = 0, left_out = 0;
  for (const auto& row : all.at("combinations")) {
    if (!row.contains("raises")) continue;
    SCOPED_TRACE(row.dump().substr(0, 600));
    const DataSources from = sources(dir, row.at("flags"));
    for (int i = 0; i < kSplitCount; ++i) {
      const auto split = static_cast<Split>(i);
      const std::int64_t wanted = row.at("wanted")[static_cast<std::size_t>(i)];
      int told = 0;
      try {
        const auto dataset =
            open_split(from, split, wanted, {.opened = {}, .left_out = [&](const std::string&) { ++told; }});
        EXPECT_TRUE(dataset != nullptr || told > 0 || wanted == 0 || !has_share(from, split)) << "without a word";
        left_out += told > 0 ? 1 : 0;
      } catch (const ConfigError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 5);
  EXPECT_GT(left_out, 5);
}

struct Blended {
  testing::TempDir dir;
  std::vector<std::string> left_out;

  Blended() {
    write_corpora(dir, {{100, 5, 10}, {4, 5, 10}, {5, 0, 1}});  // the last has no tokens at all
  }
  std::unique_ptr<Dataset> open(const std::vector<std::string>& path, Split split,
                                const std::string& shares = "98,2,0") {
    DataSources from;
    from.data_path = path;
    for (std::string& word : from.data_path) {
      if (word[0] == 'c') word = (dir / word).string();
    }
    from.split = shares;
    from.sequence_length = 8;
    left_out.clear();
    return open_split(from, split, 10,
                      {.opened = {}, .left_out = [&](const std::string& line) { left_out.push_back(line); }});
  }
};

TEST(OpenSplit, ACorpusTooSmallForValidationIsLeftOutWithAWord) {
  Blended data;
  for (const std::vector<std::string>& path :
       {std::vector<std::string>{"1", "c0", "1", "c1"}, {"c0", "c1"}, {"c1", "c0"}, {"c0", "c1", "c1"}}) {
    const auto blend = data.open(path, Split::valid);
    ASSERT_NE(blend, nullptr);
    EXPECT_FALSE(data.left_out.empty());
    for (const std::string& line : data.left_out) EXPECT_THAT(line, ::testing::HasSubstr("c1"));
    for (std::int64_t i = 0; i < blend->size(); ++i) EXPECT_THAT(blend->locate(i, 0).prefix, ::testing::EndsWith("c0"));
  }
  EXPECT_EQ(data.open({"c1"}, Split::valid), nullptr);
  EXPECT_EQ(data.left_out.size(), 1u);
  EXPECT_EQ(data.open({"c1"}, Split::test), nullptr);  // no share at all: nobody asked
  EXPECT_TRUE(data.left_out.empty());
}

TEST(OpenSplit, AnEmptyCorpusIsNamedAndNotTheSplit) {
  Blended data;
  for (const std::vector<std::string>& path :
       {std::vector<std::string>{"c2"}, {"1", "c2"}, {"1", "c0", "1", "c2"}, {"0.3", "c2", "0.1", "c0"}}) {
    try {
      data.open(path, Split::train);
      ADD_FAILURE() << "an empty corpus was accepted";
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr("c2 is empty"));
      EXPECT_THAT(error.what(), ::testing::Not(::testing::HasSubstr("--split")));
    }
  }
  EXPECT_NE(data.open({"c0", "c2"}, Split::train), nullptr);  // without weights it weighs nothing
  ASSERT_EQ(data.left_out.size(), 1u);
  EXPECT_THAT(data.left_out[0], ::testing::HasSubstr("c2 is empty"));
}

TEST(Blend, WeightsArePythonsNumbersAboveZero) {
  for (const char* weight : {"0.5", ".5", "+2", "3.", "1e-3", "1E5", " 7 ", "1e-300"}) {
    EXPECT_EQ(parse_blend(std::vector<std::string>{weight, "A"}, "--data-path").weights.size(), 1u) << weight;
  }
  for (const char* weight : {"0", "0.0", "-1", "-.5", "1e-400"}) {
    EXPECT_THROW(parse_blend(std::vector<std::string>{weight, "A", "1", "B"}, "--data-path"), ConfigError) << weight;
  }
  for (const char* word : {"0x10", "data", "data1", "1data", "inf", "nan", "e5", "."}) {
    EXPECT_TRUE(parse_blend(std::vector<std::string>{word, "A"}, "--data-path").weights.empty()) << word;
  }
}

TEST(Blend, TellsWhatIsWrongWithAWeight) {
  Blended data;
  const auto refused = [&](const std::vector<std::string>& path) -> std::string {
    try {
      data.open(path, Split::train);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(refused({"1e308", "c0", "1e308", "c0"}), ::testing::HasSubstr("add up to more than"));
  for (const char* weight : {"inf", "nan", "-Infinity", "1e999"}) {
    EXPECT_THAT(refused({weight, "c0", "1", "c0"}), ::testing::HasSubstr("is not finite")) << weight;
    EXPECT_THAT(refused({weight, "c0"}), ::testing::HasSubstr("Weight and prefix come in turn")) << weight;
  }
  EXPECT_THAT(refused({"50%", "c0", "50%", "c0"}), ::testing::HasSubstr("50% is read as a prefix"));
  EXPECT_THAT(refused({"c0", "1", "c0", "1"}), ::testing::HasSubstr("1 is read as a prefix"));
  EXPECT_THAT(refused({"1", "c0", "c0"}), ::testing::HasSubstr("Weight and prefix come in turn"));
  EXPECT_THAT(refused({"1", "c0", "2"}), ::testing::HasSubstr("Weight and prefix come in turn"));
  // Of a path of its own that flag is named, for it is the one that the user gave.
  for (const Split split : {Split::train, Split::valid, Split::test}) {
    DataSources own;
    auto& words = split == Split::train   ? own.train_data_path
                  : split == Split::valid ? own.valid_data_path
                                          : own.test_data_path;
    own.sequence_length = 8;
    for (const std::vector<std::string>& wrong : {std::vector<std::string>{"inf", "c0", "1", "c0"},
                                                  {"0", "c0"},
                                                  {"1", "c0", "c0", "2"},
                                                  {"50%", "c0"},
                                                  {"1e308", "c0", "1e308", "c0"},
                                                  {"1e-320", "c0", "1e10", "c0"}}) {
      words = wrong;
      try {
        open_split(own, split, 10, {});
        ADD_FAILURE() << "no error";
      } catch (const ConfigError& error) {
        EXPECT_THAT(error.what(), ::testing::StartsWith(std::string("--") + split_name(split) + "-data-path: "));
      }
    }
  }
  EXPECT_EQ(refused({"1e-320", "c0", "1", "c0"}), "");
  ASSERT_EQ(data.left_out.size(), 1u);
  EXPECT_THAT(data.left_out[0], ::testing::HasSubstr("worth less than one of 10 samples"));
}

TEST(Blend, WeightsAreAddedUpAsNumpyDoes) {
  // One ulp of a sum decides; 0.1 + ... + 0.1 of ten is 1 in eight sums side by side and less than 1 one by one.
  EXPECT_EQ(normalized(std::vector<double>(10, 0.1))[0], 0.1);
}

}  // namespace
}  // namespace ringtron

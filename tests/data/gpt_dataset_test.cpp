#include "ringtron/data/gpt_dataset.h"

#include <gmock/gmock.h>

#include <sys/stat.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/base/hash.h"
#include "ringtron/data/blended_dataset.h"
#include "ringtron/data/mock_dataset.h"
#include "tests/data/made_up_corpus.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

// One part of the golden file, by value: it must be held in a variable while a loop walks over it.
nlohmann::json golden(const char* part) {
  std::ifstream file(std::string(RINGTRON_SOURCE_DIR) + "/tests/golden/gpt_dataset.json");
  return nlohmann::json::parse(file).at(part);
}

struct Opened {
  testing::TempDir dir;
  std::shared_ptr<IndexedDataset> corpus;
  GptDatasetOptions options;
};

// The corpus and the options of one row of the golden file.
std::unique_ptr<Opened> open_case(const nlohmann::json& c) {
  auto opened = std::make_unique<Opened>();
  const std::string prefix = (opened->dir / "corpus").string();
  testing::write_made_up_corpus(prefix, c.at("documents"), c.at("longest"));
  opened->corpus = std::make_shared<IndexedDataset>(prefix);
  const auto parts = split_sequences(c.at("split").get<std::string>(), opened->corpus->sequences());
  opened->options.split = static_cast<Split>(c.at("part").get<int>());
  opened->options.index.sequences = parts.at(c.at("part").get<std::size_t>()).value();
  opened->options.index.sequence_length = c.at("sequence_length");
  opened->options.index.seed = c.at("seed");
  if (!c.at("samples").is_null()) opened->options.index.samples = c.at("samples").get<std::int64_t>();
  return opened;
}

TEST(GptDataset, SameOrderAsTheMegatronCoreWheel) {
  int separate = 0;
  const auto cases = golden("datasets");
  ASSERT_FALSE(cases.empty());
  for (const auto& c : cases) {
    SCOPED_TRACE(c.at("name").get<std::string>());
    const auto opened = open_case(c);
    const GptDataset dataset(opened->corpus, opened->options);
    const auto documents = c.at("document_index").get<std::vector<std::int32_t>>();
    const auto order = c.at("shuffle_index").get<std::vector<std::int64_t>>();
    EXPECT_THAT(dataset.document_index(), ::testing::ElementsAreArray(documents));
    EXPECT_THAT(dataset.shuffle_index(), ::testing::ElementsAreArray(order));
    ASSERT_EQ(dataset.sample_index().size(), c.at("sample_index").size());
    for (std::size_t i = 0; i < dataset.sample_index().size(); ++i) {
      EXPECT_EQ(dataset.sample_index()[i].document, c["sample_index"][i][0].get<std::int64_t>());
      EXPECT_EQ(dataset.sample_index()[i].offset, c["sample_index"][i][1].get<std::int64_t>());
    }
    for (std::size_t i = 0; i < c.at("first_samples").size(); ++i) {
      EXPECT_EQ(dataset.sample(static_cast<std::int64_t>(i)), c["first_samples"][i].get<std::vector<std::int32_t>>());
    }
    separate += dataset.sizes().separate_final_epoch() ? 1 : 0;
  }
  EXPECT_GE(separate, 3) << "the golden file should hold cases with a separate final epoch";
  EXPECT_LE(separate, static_cast<int>(cases.size()) - 3) << "and cases without";
}

TEST(GptDataset, AnotherSeedGivesAnotherOrder) {  // negative control of the test above
  auto c = golden("datasets").at(0);
  c["seed"] = c["seed"].get<int>() + 1;
  const auto opened = open_case(c);
  const GptDataset dataset(opened->corpus, opened->options);
  EXPECT_THAT(dataset.shuffle_index(),
              ::testing::Not(::testing::ElementsAreArray(c.at("shuffle_index").get<std::vector<std::int64_t>>())));
}

TEST(GptDataset, PartsOfASampleAreThoseOfTheWhole) {
  const auto cases = golden("datasets");
  ASSERT_FALSE(cases.empty());
  for (const auto& c : cases) {
    const auto opened = open_case(c);
    const GptDataset dataset(opened->corpus, opened->options);
    const std::int64_t s = dataset.sequence_length();
    for (std::int64_t i = 0; i < dataset.size(); ++i) {
      const auto whole = dataset.sample(i);
      for (std::int64_t first = 0; first <= s; first += 3) {
        std::vector<std::int32_t> part(static_cast<std::size_t>(s + 1 - first));
        dataset.read(i, first, s + 1 - first, part.data());
        EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + first));
      }
      EXPECT_EQ(dataset.locate(i, s).token, whole.back());
    }
  }
}

TEST(GptDataset, CacheIsUsedCheckedAndRebuilt) {
  const auto opened = open_case(golden("datasets").at(2));
  opened->options.cache_folder = opened->dir / "cache";
  const GptDataset first(opened->corpus, opened->options);
  EXPECT_EQ(first.index_source(), GptDataset::IndexSource::built_and_cached);
  const GptDataset second(opened->corpus, opened->options);
  EXPECT_EQ(second.index_source(), GptDataset::IndexSource::cache);
  EXPECT_EQ(second.size(), first.size());
  for (std::int64_t i = 0; i < first.size(); ++i) EXPECT_EQ(second.sample(i), first.sample(i));
  const auto file = std::filesystem::directory_iterator(opened->options.cache_folder)->path();
  const std::string good = read_file(file);
  for (std::size_t at = 0; at < 2; ++at) {
    std::string bad = good;
    if (at == 0) bad[bad.size() / 2] ^= 1;
    if (at == 1) bad.resize(bad.size() / 2);
    write_file_atomically(file, bad);
    const GptDataset again(opened->corpus, opened->options);
    EXPECT_EQ(again.index_source(), GptDataset::IndexSource::built_and_cached);
    EXPECT_EQ(read_file(file), good);
  }
}

// The layout of gpt_index_cache.cpp: 80 bytes of header, starts (16 bytes each), order (8), documents (4), description.
struct CacheFile {
  std::string bytes;
  std::int64_t starts, order, documents;

  explicit CacheFile(std::string content) : bytes(std::move(content)) {
    std::memcpy(&starts, &bytes[16], 8);
    std::memcpy(&order, &bytes[24], 8);
    std::memcpy(&documents, &bytes[32], 8);
  }
  template <class T>
  void set(std::int64_t at, T value) {
    std::memcpy(&bytes[static_cast<std::size_t>(at)], &value, sizeof value);
  }
  std::int64_t order_at() const { return 80 + 16 * starts; }
  std::int64_t documents_at() const { return order_at() + 8 * order; }
  // A checksum that fits whatever now stands there.
  std::string forged() {
    std::uint64_t sum = 0;
    const std::string_view all = bytes;
    const std::int64_t ends[] = {order_at(), documents_at(), documents_at() + 4 * documents, std::ssize(bytes)};
    std::int64_t begin = 80;
    for (const std::int64_t end : ends) {
      sum = hash64(all.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)), sum);
      begin = end;
    }
    set<std::uint64_t>(8, sum);
    return bytes;
  }
};

TEST(GptDataset, ForgedCachesAreNamedAndBuiltAnew) {
  const auto opened = open_case(golden("datasets").at(2));
  opened->options.cache_folder = opened->dir / "cache";
  const GptDataset first(opened->corpus, opened->options);
  const auto path = std::filesystem::directory_iterator(opened->options.cache_folder)->path();
  const std::string good = read_file(path);
  const CacheFile whole(good);
  ASSERT_EQ(CacheFile(good).forged(), good) << "the forger must know the checksum";
  const std::vector<std::function<void(CacheFile&)>> forgeries = {
      [&](CacheFile& f) { f.set<std::int64_t>(whole.order_at(), whole.order); },
      [&](CacheFile& f) { f.set<std::int64_t>(whole.order_at(), -1); },
      [&](CacheFile& f) { f.set<std::int64_t>(whole.order_at(), std::int64_t{1} << 60); },
      [&](CacheFile& f) { std::memcpy(&f.bytes[whole.order_at()], &good[whole.order_at() + 8], 8); },  // one twice
      [&](CacheFile& f) { f.set<std::int32_t>(whole.documents_at(), 1 << 30); },
      [&](CacheFile& f) { f.set<std::int32_t>(whole.documents_at() + 4, -7); },
      [&](CacheFile& f) { f.set<std::int64_t>(80 + 16, whole.documents); },
      [&](CacheFile& f) { f.set<std::int64_t>(80 + 24, -5); },
      [&](CacheFile& f) { f.set<std::int64_t>(80 + 24, 1000); },
      [&](CacheFile& f) { f.set<std::int64_t>(80, 3); },                           // falls afterwards
      [&](CacheFile& f) { f.set<std::int64_t>(48 + 16, std::int64_t{1} << 40); },  // samples
      [&](CacheFile& f) { f.set<std::int64_t>(48 + 8, 1); },                       // epochs
  };
  for (std::size_t i = 0; i < forgeries.size(); ++i) {
    CacheFile forgery(good);
    forgeries[i](forgery);
    write_file_atomically(path, forgery.forged());
    const GptDataset again(opened->corpus, opened->options);
    EXPECT_EQ(again.index_source(), GptDataset::IndexSource::built_and_cached) << i;
    EXPECT_THAT(again.cache_refused(), ::testing::HasSubstr(path.string())) << i;
    EXPECT_EQ(read_file(path), good) << i;
    EXPECT_EQ(again.order_hash(), first.order_hash());
  }
}

// Starts that lie in the corpus, but from which a sample runs past its end.
TEST(GptDataset, ForgedStartsDoNotLeaveTheCorpus) {
  const auto opened = open_case(golden("datasets").at(2));
  opened->options.cache_folder = opened->dir / "cache";
  std::int64_t last_length = 0;
  {
    const GptDataset first(opened->corpus, opened->options);
    last_length = opened->corpus->sequence_length(first.document_index().back());
  }
  const auto path = std::filesystem::directory_iterator(opened->options.cache_folder)->path();
  CacheFile forgery(read_file(path));
  for (std::int64_t row = 0; row < forgery.starts; ++row) {
    forgery.set<std::int64_t>(80 + 16 * row, forgery.documents - 1);
    forgery.set<std::int64_t>(80 + 16 * row + 8, last_length - 1);
  }
  write_file_atomically(path, forgery.forged());
  const GptDataset again(opened->corpus, opened->options);
  ASSERT_EQ(again.index_source(), GptDataset::IndexSource::cache);
  const auto read_all = [&] {
    for (std::int64_t i = 0; i < again.size(); ++i) again.sample(i);
  };
  EXPECT_THROW(read_all(), IoError);
}

TEST(GptDataset, WhateverLiesAtTheCachesPlaceIsSteppedAround) {
  const auto opened = open_case(golden("datasets").at(2));
  opened->options.cache_folder = opened->dir / "cache";
  {
    const GptDataset first(opened->corpus, opened->options);
  }
  const auto path = std::filesystem::directory_iterator(opened->options.cache_folder)->path();
  const auto expect_named = [&] {
    const GptDataset again(opened->corpus, opened->options);
    EXPECT_NE(again.index_source(), GptDataset::IndexSource::cache);
    EXPECT_THAT(again.cache_refused(), ::testing::HasSubstr(path.string()));
  };
  std::filesystem::remove(path);
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  expect_named();
  std::filesystem::remove(path);
  std::filesystem::create_directories(path / "sub");
  expect_named();
  EXPECT_TRUE(std::filesystem::exists(path / "sub"));
  std::filesystem::remove_all(path);
  std::filesystem::create_symlink("/dev/zero", path);
  expect_named();
  std::filesystem::remove(path);
  write_file_atomically(path, "");
  expect_named();
}

struct CutOff {
  std::unique_ptr<Opened> opened = open_case(golden("datasets").at(8));
  std::string corpus = (opened->dir / "corpus").string();

  std::string message_after_cutting(const std::string& path, std::uintmax_t size) {
    const GptDataset dataset(std::make_shared<IndexedDataset>(corpus), opened->options);
    std::filesystem::resize_file(path, size);
    try {
      for (std::int64_t i = 0; i < dataset.size(); ++i) dataset.sample(i);
    } catch (const IoError& error) {
      return error.what();
    }
    return "";
  }
};

TEST(GptDataset, FilesThatShrinkWhileReadAreNamed) {
  for (const char* half : {".bin", ".idx"}) {
    for (const int part : {0, 1, 3}) {
      CutOff cut;
      const std::string path = cut.corpus + half;
      EXPECT_THAT(cut.message_after_cutting(path, std::filesystem::file_size(path) * part / 4),
                  ::testing::HasSubstr(path));
    }
  }
  CutOff cut;
  cut.opened->options.cache_folder = cut.opened->dir / "cache";
  {
    const GptDataset first(cut.opened->corpus, cut.opened->options);
  }
  const auto cache = std::filesystem::directory_iterator(cut.opened->options.cache_folder)->path();
  EXPECT_THAT(cut.message_after_cutting(cache.string(), 100), ::testing::HasSubstr(cache.string()));
}

TEST(GptDataset, SeveralBuildersAtOnce) {
  const auto opened = open_case(golden("datasets").at(1));
  opened->options.cache_folder = opened->dir / "cache";
  std::vector<std::thread> threads;
  std::vector<std::vector<std::int32_t>> samples(4);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    threads.emplace_back([&, i] { samples[i] = GptDataset(opened->corpus, opened->options).sample(3); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& sample : samples) EXPECT_EQ(sample, samples[0]);
  const auto entries = std::filesystem::directory_iterator(opened->options.cache_folder);
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 1);
}

TEST(GptDataset, UnwritableCacheIsNoError) {
  const auto opened = open_case(golden("datasets").at(0));
  opened->options.cache_folder = opened->dir / "corpus.bin" / "cache";  // below a file
  const GptDataset dataset(opened->corpus, opened->options);
  EXPECT_EQ(dataset.index_source(), GptDataset::IndexSource::built);
  EXPECT_NE(dataset.cache_problem(), "");
}

TEST(GptDataset, EmptyPartIsAnError) {
  const auto opened = open_case(golden("datasets").at(0));
  opened->options.index.sequences = {3, 3};
  EXPECT_THROW(GptDataset(opened->corpus, opened->options), ConfigError);
}

TEST(GptDataset, MoreSamplesThanAnyMachineHolds) {
  const auto opened = open_case(golden("datasets").at(0));
  for (const std::int64_t samples :
       {std::int64_t{1} << 36, std::int64_t{1} << 45, std::numeric_limits<std::int64_t>::max()}) {
    opened->options.index.samples = samples;
    EXPECT_THROW(GptDataset(opened->corpus, opened->options), ConfigError) << samples;
  }
}

TEST(DatasetSplit, Boundaries) {
  const auto parts = split_sequences("969, 30, 1", 1000);
  EXPECT_EQ(parts[0]->end, 969);
  EXPECT_EQ(parts[1]->end, 999);
  EXPECT_EQ(parts[2]->end, 1000);
  EXPECT_FALSE(split_sequences("99,1,0", 10)[2]);
  EXPECT_EQ(split_sequences("50,50", 5)[0]->end, 2);  // Python's round(2.5)
  for (const char* bad : {"", "0,0", "1,2,3,4", "1.2.3"}) EXPECT_THROW(split_sequences(bad, 10), ConfigError) << bad;
}

TEST(DatasetSplit, WantedSamples) {
  const auto wanted = wanted_samples({.train_iters = 100,
                                      .train_samples = {},
                                      .global_batch_size = 8,
                                      .eval_interval = 30,
                                      .eval_iters = 5,
                                      .eval_global_batch_size = 4});
  EXPECT_EQ(wanted, (std::array<std::int64_t, 3>{800, 80, 20}));
}

TEST(BlendedDataset, IndexOfTheMegatronCoreWheel) {
  const auto cases = golden("blends");
  ASSERT_FALSE(cases.empty());
  for (const auto& c : cases) {
    const auto weights = c.at("weights").get<std::vector<double>>();
    const BlendIndex index = build_blend_index(weights, static_cast<std::int64_t>(c.at("dataset").size()));
    EXPECT_EQ(index.dataset, c.at("dataset").get<std::vector<std::int16_t>>());
    EXPECT_EQ(index.sample, c.at("sample").get<std::vector<std::int64_t>>());
  }
}

TEST(BlendedDataset, ReadsFromItsDatasetsAndRefusesTooSmallOnes) {
  const auto make = [](std::int64_t first, std::int64_t second) {
    std::vector<std::unique_ptr<Dataset>> datasets;
    datasets.push_back(std::make_unique<MockDataset>(first, 16, 50, 1));
    datasets.push_back(std::make_unique<MockDataset>(second, 16, 50, 2));
    return BlendedDataset(std::move(datasets), {3, 1}, 8);
  };
  const BlendedDataset blend = make(6, 2);
  EXPECT_EQ(blend.size(), 8);
  EXPECT_EQ(blend.sample(1), MockDataset(2, 16, 50, 2).sample(0));
  EXPECT_THROW(make(5, 2), ConfigError);
}

TEST(Blend, ParsesAllForms) {
  EXPECT_TRUE(parse_blend(std::vector<std::string>{"A"}, "--data-path").weights.empty());
  EXPECT_EQ(parse_blend(std::vector<std::string>{"A", "B"}, "--data-path").prefixes,
            (std::vector<std::string>{"A", "B"}));
  const Blend blend = parse_blend(std::vector<std::string>{"30", "A", "10", "B"}, "--data-path");
  EXPECT_EQ(blend.weights, (std::vector<double>{0.75, 0.25}));
  EXPECT_THROW(parse_blend(std::vector<std::string>{"30", "A", "B", "C"}, "--data-path"), ConfigError);
  EXPECT_EQ(wanted_of_corpus(1000, 0.3), 302);
}

}  // namespace
}  // namespace ringtron

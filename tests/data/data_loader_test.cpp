#include "ringtron/data/data_loader.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <memory>
#include <set>

#include "ringtron/base/error.h"
#include "ringtron/data/gpt_dataset.h"
#include "ringtron/data/indexed_dataset_writer.h"
#include "ringtron/data/mock_dataset.h"
#include "tests/data/made_up_corpus.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

constexpr std::int64_t kLength = 128;
constexpr std::int64_t kVocab = 30;

MicroBatchOptions options() { return {.ranges = {}, .plan = {}, .vocab_size = kVocab, .end_of_document = kVocab - 1}; }

TEST(DataLoader, LabelsFollowTokens) {
  const MockDataset dataset(20, kLength, kVocab, 1);
  DataLoader loader(dataset, {.dataset_size = 20, .micro_batch_size = 3}, options(), 5);
  for (int micro_batch = 0; micro_batch < 5; ++micro_batch) {
    const MicroBatch batch = loader.next();
    EXPECT_EQ(batch.batch, 3);
    EXPECT_EQ(batch.length, kLength);
    for (std::int64_t b = 0; b < 3; ++b) {
      EXPECT_EQ(batch.sample_numbers[static_cast<std::size_t>(b)], 5 + 3 * micro_batch + b);
      const auto sample = dataset.sample(5 + 3 * micro_batch + b);
      EXPECT_TRUE(std::equal(sample.begin(), sample.end() - 1, batch.tokens.begin() + b * kLength));
      EXPECT_TRUE(std::equal(sample.begin() + 1, sample.end(), batch.labels.begin() + b * kLength));
    }
  }
  EXPECT_GE(loader.wait_seconds(), 0);
  EXPECT_THROW(loader.next(), ConfigError);  // samples 20 and more do not exist
  EXPECT_THROW(loader.next(), ConfigError);
}

// Every rank's slice of each tensor equals those positions of the whole batch.
TEST(DataLoader, RangesAreSlicesOfTheWhole) {
  const MockDataset dataset(8, kLength, kVocab, 2);
  MicroBatchOptions whole_options = options();
  whole_options.mask_end_of_document = whole_options.reset_position_ids = true;
  const Sampler sampler{.dataset_size = 8, .micro_batch_size = 2};
  const MicroBatch whole = read_micro_batch(dataset, sampler, whole_options, {3, 4});
  for (const std::int64_t cp : {1, 2, 4}) {
    const std::int64_t chunk = kLength / (2 * cp);
    for (std::int64_t r = 0; r < cp; ++r) {
      MicroBatchOptions mine = whole_options;
      mine.ranges = {{r * chunk, (r + 1) * chunk}, {(2 * cp - 1 - r) * chunk, (2 * cp - r) * chunk}};
      const MicroBatch part = read_micro_batch(dataset, sampler, mine, {3, 4});
      ASSERT_EQ(part.length, 2 * chunk);
      for (std::int64_t b = 0; b < 2; ++b) {
        for (std::int64_t i = 0; i < part.length; ++i) {
          const auto local = static_cast<std::size_t>(b * part.length + i);
          const auto global =
              static_cast<std::size_t>(b * kLength + part.global_positions[static_cast<std::size_t>(i)]);
          EXPECT_EQ(part.tokens[local], whole.tokens[global]);
          EXPECT_EQ(part.labels[local], whole.labels[global]);
          EXPECT_EQ(part.loss_mask[local], whole.loss_mask[global]);
          EXPECT_EQ(part.position_ids[local], whole.position_ids[global]);
        }
      }
    }
  }
}

TEST(DataLoader, EndOfDocumentMasksAndResets) {
  const MockDataset dataset(1, kLength, kVocab, 3);
  const Sampler sampler{.dataset_size = 1};
  MicroBatchOptions with = options();
  with.mask_end_of_document = with.reset_position_ids = true;
  const MicroBatch plain = read_micro_batch(dataset, sampler, options(), {0});
  const MicroBatch batch = read_micro_batch(dataset, sampler, with, {0});
  std::int64_t begin = 0, ends = 0;
  for (std::int64_t p = 0; p < kLength; ++p) {
    const auto at = static_cast<std::size_t>(p);
    const bool is_end = plain.tokens[at] == kVocab - 1;
    EXPECT_EQ(plain.loss_mask[at], 1);
    EXPECT_EQ(batch.loss_mask[at], is_end ? 0 : 1);
    EXPECT_EQ(plain.position_ids[at], p);
    EXPECT_EQ(batch.position_ids[at], p - begin);
    if (!is_end) continue;
    begin = p + 1;
    ++ends;
  }
  EXPECT_EQ(ends, 4);  // one in each quarter
}

// A rank whose ranges follow from the documents: the callback gets those of the whole samples, and what it
// made the ranges from comes back with the batch.
TEST(DataLoader, RangesMayDependOnDocuments) {
  const MockDataset dataset(4, kLength, kVocab, 3);
  const Sampler sampler{.dataset_size = 4, .micro_batch_size = 2};
  const MicroBatch whole = read_micro_batch(dataset, sampler, options(), {1, 2});
  EXPECT_TRUE(whole.document_starts.empty());
  DocumentStarts expected(2);
  for (std::int64_t b = 0; b < 2; ++b) {
    for (std::int64_t p = 0; p + 1 < kLength; ++p) {
      if (whole.tokens[static_cast<std::size_t>(b * kLength + p)] == kVocab - 1) {
        expected[static_cast<std::size_t>(b)].push_back(p + 1);
      }
    }
  }
  ASSERT_FALSE(expected[0].empty());
  MicroBatchOptions with = options();
  with.find_documents = with.reset_position_ids = true;
  int calls = 0;
  with.plan = [&](const DocumentStarts& starts) -> ReadPlan {
    ++calls;
    EXPECT_EQ(starts, expected);
    return {{{starts[0][0] - 1, starts[0][0] + 2}, {kLength - 2, kLength}}, std::make_shared<const int>(17)};
  };
  const MicroBatch part = read_micro_batch(dataset, sampler, with, {1, 2});
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(part.length, 5);
  EXPECT_EQ(part.document_starts, expected);
  EXPECT_EQ(*static_cast<const int*>(part.made_from.get()), 17);
  const std::int64_t first = expected[0][0];
  EXPECT_THAT(part.global_positions, ::testing::ElementsAre(first - 1, first, first + 1, kLength - 2, kLength - 1));
  for (std::size_t i = 0; i < 10; ++i) {
    const std::int64_t p = part.global_positions[i % 5];
    const auto global = static_cast<std::size_t>(static_cast<std::int64_t>(i / 5) * kLength + p);
    EXPECT_EQ(part.tokens[i], whole.tokens[global]);
    EXPECT_EQ(part.labels[i], whole.labels[global]);
    std::int64_t begin = 0;
    for (const std::int64_t start : expected[i / 5]) begin = start <= p ? start : begin;
    EXPECT_EQ(part.position_ids[i], p - begin);
  }
}

// The last token of a sample ends a document: the next one begins in another sample.
TEST(DataLoader, AStartAtTheEndOfTheSampleIsDropped) {
  testing::TempDir dir;
  const std::string prefix = (dir / "corpus").string();
  IndexedDatasetWriter writer(prefix, TokenType::u16);
  for (int d = 0; d < 20; ++d) {
    writer.add_sequence(std::vector<std::int32_t>{1, 2, 3, 29});
    writer.end_document();
  }
  writer.finish();
  const GptDataset dataset(std::make_shared<IndexedDataset>(prefix), {Split::train, {{0, 20}, 4, 1, {}}, {}});
  MicroBatchOptions with = options();
  with.find_documents = true;
  int at_the_end = 0;
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    const MicroBatch batch = read_micro_batch(dataset, {.dataset_size = dataset.size()}, with, {i});
    ASSERT_EQ(batch.length, 4);
    const auto end = std::find(batch.tokens.begin(), batch.tokens.end(), 29) - batch.tokens.begin();
    at_the_end += end == 3;
    EXPECT_EQ(batch.document_starts[0], end == 3 ? std::vector<std::int64_t>{} : std::vector<std::int64_t>{end + 1});
    EXPECT_EQ(batch.position_ids.back(), 3);  // only --reset-position-ids resets them
  }
  EXPECT_GT(at_the_end, 0);
}

TEST(DataLoader, ARankMayHaveNoTokens) {
  const MockDataset dataset(4, kLength, kVocab, 3);
  MicroBatchOptions nothing = options();
  nothing.ranges.emplace();
  const MicroBatch batch = read_micro_batch(dataset, {.dataset_size = 4, .micro_batch_size = 2}, nothing, {0, 1});
  EXPECT_EQ(batch.batch, 2);
  EXPECT_EQ(batch.length, 0);
  EXPECT_TRUE(batch.tokens.empty());
  EXPECT_TRUE(batch.position_ids.empty());
  EXPECT_TRUE(batch.global_positions.empty());
}

// Without document masks a rank reads its own chunks and one token more for the last label, nothing else.
TEST(DataLoader, ReadsOnlyItsOwnRanges) {
  class Watched : public MockDataset {
   public:
    using MockDataset::MockDataset;
    void read(std::int64_t sample, std::int64_t first, std::int64_t count, std::int32_t* out) const override {
      reads.emplace_back(first, count);
      MockDataset::read(sample, first, count, out);
    }
    mutable std::vector<std::pair<std::int64_t, std::int64_t>> reads;
  };
  const Watched dataset(1, kLength, kVocab, 1);
  MicroBatchOptions mine = options();
  mine.plan = [](const DocumentStarts& starts) -> ReadPlan {
    EXPECT_TRUE(starts.empty());
    return {{{8, 16}, {100, 104}}};
  };
  read_micro_batch(dataset, {.dataset_size = 1}, mine, {0});
  EXPECT_THAT(dataset.reads, ::testing::ElementsAre(std::pair(8, 9), std::pair(100, 5)));
}

TEST(DataLoader, TokenOutsideTheVocabularyIsNamed) {
  testing::TempDir dir;
  const std::string prefix = (dir / "corpus").string();
  testing::write_made_up_corpus(prefix, 5, 4);
  const auto corpus = std::make_shared<IndexedDataset>(prefix);
  const GptDataset dataset(corpus, {Split::train, {{0, 5}, 4, 1, {}}, {}});
  MicroBatchOptions narrow = options();
  narrow.vocab_size = 125;  // document 4 holds 124 and 125
  DataLoader loader(dataset, {.dataset_size = dataset.size()}, narrow, 0);
  try {
    for (std::int64_t i = 0; i < dataset.size(); ++i) loader.next();
    FAIL() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("token 125 at position 1 of document 4 of " + prefix));
  }
}

// More than it holds ready by itself, and in the same order.
TEST(DataLoader, PreparesAWholeStep) {
  const MockDataset dataset(100, kLength, kVocab, 1);
  DataLoader prepared(dataset, {.dataset_size = 100}, options(), 3),
      plain(dataset, {.dataset_size = 100}, options(), 3);
  for (int step = 0; step < 3; ++step) {
    prepared.prepare(20);
    for (int i = 0; i < 20; ++i) EXPECT_EQ(prepared.next().sample_numbers, plain.next().sample_numbers);
  }
}

// What cannot be read is known before the step that needs it; what lies before it can still be had.
TEST(DataLoader, PreparingThrowsForAnyOfTheStep) {
  const MockDataset dataset(7, kLength, kVocab, 1);
  DataLoader loader(dataset, {.dataset_size = 7}, options(), 0);
  loader.prepare(7);
  EXPECT_THROW(loader.prepare(8), ConfigError);
  EXPECT_THROW(loader.prepare(8), ConfigError);
  for (int i = 0; i < 7; ++i) loader.next();
  EXPECT_THROW(loader.next(), ConfigError);
}

TEST(DataLoader, ACorpusThatIsCutOffIsAnErrorOfReading) {
  testing::TempDir dir;
  const std::string prefix = (dir / "corpus").string();
  testing::write_made_up_corpus(prefix, 50, 4);
  const auto corpus = std::make_shared<IndexedDataset>(prefix);
  const GptDataset dataset(corpus, {Split::train, {{0, 50}, 4, 1, {}}, {}});
  std::filesystem::resize_file(prefix + ".bin", 4);
  DataLoader loader(dataset, {.dataset_size = dataset.size()}, options(), 0);
  try {
    loader.prepare(1);
    FAIL() << "no error";
  } catch (const IoError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr(prefix + ".bin"));
  }
}

TEST(DataLoader, StopsWhileFullAndWhileUnused) {
  const MockDataset dataset(1000, kLength, kVocab, 1);
  for (int i = 0; i < 20; ++i) DataLoader(dataset, {.dataset_size = 1000}, options(), 0);
  SUCCEED();
}

TEST(Sampler, ValidationStartsOverWhereItEnds) {
  const Sampler sampler{.order = SampleOrder::repeated, .dataset_size = 5};
  for (std::int64_t n = 0; n < 23; ++n) EXPECT_EQ(sampler.dataset_sample(n), n % 5);
  const Sampler once{.dataset_size = 5};
  EXPECT_THROW(once.dataset_sample(5), ConfigError);
  const Sampler empty{.order = SampleOrder::repeated, .dataset_size = 0};
  EXPECT_THROW(empty.dataset_sample(0), ConfigError);
}

TEST(Sampler, RanksShareEachGlobalBatch) {
  for (const std::int64_t dp : {1, 2, 4}) {
    std::set<std::int64_t> seen;
    for (std::int64_t rank = 0; rank < dp; ++rank) {
      const Sampler sampler{
          .dataset_size = 100, .micro_batch_size = 8 / dp / 2, .data_parallel_size = dp, .data_parallel_rank = rank};
      for (int m = 0; m < 2; ++m) {
        for (const std::int64_t n : sampler.global_numbers(40, m)) seen.insert(n);
      }
    }
    EXPECT_THAT(seen, ::testing::ElementsAre(40, 41, 42, 43, 44, 45, 46, 47)) << dp;
  }
}

TEST(Sampler, CyclicVisitsEachSampleOncePerPass) {
  for (const std::int64_t size : {1, 2, 3, 5, 64, 1000}) {
    const Sampler sampler{.order = SampleOrder::cyclic, .dataset_size = size, .seed = 7};
    std::vector<std::int64_t> passes[2];
    for (std::int64_t n = 0; n < 2 * size; ++n) {
      passes[n / size].push_back(sampler.dataset_sample(n));
    }
    if (size == 1000) {
      EXPECT_NE(passes[0], passes[1]);
    }
    for (auto& pass : passes) {
      std::sort(pass.begin(), pass.end());
      for (std::int64_t i = 0; i < size; ++i) EXPECT_EQ(pass[static_cast<std::size_t>(i)], i);
    }
  }
}

}  // namespace
}  // namespace ringtron

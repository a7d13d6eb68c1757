#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "ringtron/data/gpt_dataset.h"
#include "ringtron/data/indexed_dataset_writer.h"
#include "ringtron/data/sampler.h"
#include "ringtron/tools/document_lengths.h"
#include "ringtron/tools/inspect_data.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Inspect : public ::testing::Test {
 protected:
  Inspect() : prefix_((dir_ / "corpus").string()) {
    IndexedDatasetWriter writer(prefix_, TokenType::u16);
    for (std::int32_t d = 0; d < 1200; ++d) {
      std::vector<std::int32_t> tokens;
      for (std::int32_t p = 0; p < 3 + d % 11; ++p) tokens.push_back((d * 31 + p) % 997);
      writer.add_sequence(tokens);
      writer.end_document();
    }
    writer.finish();
    config_.data.data_path = {prefix_};
    config_.data.split = "90,10,0";
    config_.data.tokenizer_type = TokenizerType::null;
    config_.data.vocab_size = 1000;
    config_.model.seq_length = 16;
    config_.batch.global_batch_size = 4;
    config_.batch.train_iters = 300;
    config_.evaluation.eval_interval = 100;
    config_.evaluation.eval_iters = 2;
  }

  std::vector<std::string> lines(const SampleRequest& request) const {
    std::vector<std::string> all;
    print_samples(config_, request, [&](const std::string& line) { all.push_back(line); });
    return all;
  }

  // What the dataset itself says.
  std::vector<std::string> expected(Split split, std::int64_t wanted, std::int64_t count) const {
    auto corpus = std::make_shared<const IndexedDataset>(prefix_);
    GptDatasetOptions options;
    options.split = split;
    options.index = {*split_sequences("90,10,0", corpus->sequences())[static_cast<std::size_t>(split)], 16, 1234,
                     wanted};
    options.cache_folder = dir_ / "other_cache";
    const GptDataset dataset(corpus, options);
    Sampler sampler;
    sampler.dataset_size = dataset.size();
    sampler.seed = 1234;
    sampler.order = config_.data.dataloader_type == DataloaderType::cyclic ? SampleOrder::cyclic : SampleOrder::single;
    std::vector<std::string> all;
    for (std::int64_t i = 0; i < count; ++i) {
      all.push_back(fmt::format("{{\"sample\":{},\"tokens\":[{}]}}", i,
                                fmt::join(dataset.sample(sampler.dataset_sample(i)), ",")));
    }
    return all;
  }

  testing::TempDir dir_;
  std::string prefix_;
  Config config_;
};

TEST_F(Inspect, DescribesACorpus) {
  EXPECT_THAT(describe_corpus(prefix_), AllOf(HasSubstr("documents   1,200"), HasSubstr("sequences   1,200"),
                                              HasSubstr("tokens      9,595"), HasSubstr("uint16")));
  EXPECT_THROW(describe_corpus(prefix_ + "_none"), ConfigError);
}

// 1200 documents of 3 to 13 tokens in turn: 219 of up to 4 tokens, 436 of up to 8, 545 of up to 16.
TEST_F(Inspect, DescribesLengthsOfDocuments) {
  const std::string text = describe_corpus(prefix_);
  EXPECT_THAT(text, HasSubstr("lengths     3 to 13 tokens: median 8, mean 8, 9 of 10 at most 12\n"));
  EXPECT_THAT(text, HasSubstr("\n               4            219   18%  ███▌"));
  EXPECT_THAT(text, HasSubstr("\n               8            436   36%  ███████"));
  EXPECT_THAT(text, HasSubstr("\n              16            545   45%  █████████"));
}

TEST(DescribeLengths, OfNoneOrOneOrEmptyDocuments) {
  EXPECT_EQ(describe_lengths({}), "");
  EXPECT_THAT(describe_lengths({5}), HasSubstr("5 to 5 tokens: median 5, mean 5, 9 of 10 at most 5"));
  EXPECT_THAT(describe_lengths({0, 0}), HasSubstr("0 to 0 tokens"));
  EXPECT_THAT(
      describe_lengths({4096, 1}),
      AllOf(HasSubstr("median 1, mean 2,049, 9 of 10 at most 4,096"),
            HasSubstr("\n               1              1   50%  ██████████               0%\n"),
            HasSubstr("\n           4,096              1   50%  ██████████             100%  ████████████████████")));
}

TEST_F(Inspect, SamplesAreThoseOfTheDataset) {
  EXPECT_EQ(lines({Split::train, 700, SampleFormat::json}), expected(Split::train, 1200, 700));
  EXPECT_EQ(lines({Split::valid, 30, SampleFormat::json}), expected(Split::valid, 4 * 2 * 4, 30));
  config_.precision.seed = 4321;
  EXPECT_NE(lines({Split::train, 700, SampleFormat::json}), expected(Split::train, 1200, 700)) << "negative control";
}

TEST_F(Inspect, CyclicOrderIsThatOfTraining) {
  config_.data.dataloader_type = DataloaderType::cyclic;
  EXPECT_EQ(lines({Split::train, 50, SampleFormat::json}), expected(Split::train, 1200, 50));
}

TEST_F(Inspect, TrainSamplesCountLikeTrainIters) {
  config_.evaluation.eval_iters = 10;  // more than one epoch of the validation part
  const auto by_steps = lines({Split::valid, 100, SampleFormat::json});
  EXPECT_EQ(by_steps.size(), 100u);
  config_.batch.train_iters = 0;
  config_.batch.train_samples = 1200;
  EXPECT_EQ(lines({Split::valid, 100, SampleFormat::json}), by_steps);
  config_.batch.train_samples = 4;  // negative control: one evaluation needs one epoch
  EXPECT_NE(lines({Split::valid, 100, SampleFormat::json}), by_steps);
}

TEST_F(Inspect, TextFormShowsIdsAndText) {
  const auto shown = lines({Split::train, 2, SampleFormat::text});
  ASSERT_EQ(shown.size(), 3u);
  EXPECT_THAT(shown[0], AllOf(HasSubstr("train"), HasSubstr("training takes 1,200")));
  EXPECT_THAT(shown[1], AllOf(HasSubstr("sample 0 (starts in document"), HasSubstr("\nids: "), HasSubstr("\ntext: ")));
}

TEST_F(Inspect, SaysWhatIsMissing) {
  config_.data.vocab_size = 500;
  EXPECT_THROW(lines({Split::train, 200, SampleFormat::text}), ConfigError);
  EXPECT_THROW(lines({Split::test, 1, SampleFormat::json}), ConfigError);
  config_.batch.train_samples = 7;
  EXPECT_THROW(lines({Split::train, 1, SampleFormat::json}), ConfigError);
  config_.batch.train_samples = 0;
  config_.model.seq_length = 0;
  EXPECT_THROW(lines({Split::train, 1, SampleFormat::json}), ConfigError);
}

}  // namespace
}  // namespace ringtron

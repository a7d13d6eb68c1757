// The division of work over ranks does not change the mathematics: in fp64 losses and all gradients of five
// steps, with both dropouts and uneven loss masks, are those of one process, for every layout. Here a model
// like Llama's, and the controls; layout_parity_gpt_dist_test.cpp has one like GPT-2.
#include <numeric>

#include "ringtron/data/mock_dataset.h"
#include "tests/train/layout_parity.h"

namespace ringtron::testing {
namespace {

const Model kModel = {"llama-like", kLlamaLike};

DIST_TEST(LayoutParity, LlamaLike, 1, 2, 4, 8) { expect_parity(ranks, kModel, layouts_of(ranks.size(), 2), 0); }

DIST_TEST(LayoutParity, LlamaLikeAnyMicroBatch, 1, 2) {
  const int dp = ranks.size();
  std::vector<Layout> layouts;
  for (int size = 1; size <= kGlobalBatch / dp; size *= 2) layouts.push_back({1, 1, dp, false, size});
  expect_parity(ranks, kModel, layouts, 0);
}

DIST_TEST(LayoutParity, LlamaLikeHasNoGradientOfRoundingOnly, 1) {
  const SharedFolder folder(ranks);
  for (const LogicalTensors& step : reference(folder, kModel.flags).gradients) EXPECT_TRUE(rounding_only(step).empty());
}

// Without this the table would prove nothing about masks: some samples keep fewer tokens than others.
DIST_TEST(LayoutParity, MasksAreUneven, 1) {
  const SharedFolder folder(ranks);
  ToyTraining run(toy_config({1, 1, 1, false, kGlobalBatch}, folder.corpus(), kGptLike));
  const MicroBatch batch = run.loader()->next();
  std::map<double, int> kept;
  for (int b = 0; b < kGlobalBatch; ++b) {
    const auto row = batch.loss_mask.begin() + b * batch.length;
    ++kept[std::accumulate(row, row + batch.length, 0.0)];
  }
  EXPECT_GE(kept.size(), 2u);
  EXPECT_LT(kept.begin()->first, 32.0);
}

// Reads chunk numbers `chunks` of the four of each sample, in that order.
std::unique_ptr<DataLoader> loader_of_chunks(const ToyTraining& run, const Dataset& dataset,
                                             const std::vector<int>& chunks) {
  const std::int64_t length = run.job().config()->model.seq_length / 4;
  Sampler sampler;
  sampler.dataset_size = dataset.size();
  sampler.micro_batch_size = run.job().config()->batch.micro_batch_size;
  MicroBatchOptions options;
  options.ranges.emplace();
  for (const int chunk : chunks) options.ranges->push_back({chunk * length, (chunk + 1) * length});
  options.vocab_size = kVocabulary;
  return std::make_unique<DataLoader>(dataset, sampler, options, 0);
}

// Negative control: the comparison sees two chunks that lie on each other's rank.
DIST_TEST(LayoutParity, FailsWhenTwoChunksAreSwapped, 2) {
  const SharedFolder folder(ranks);
  const MockDataset dataset(kGlobalBatch * kSteps, 32, kVocabulary, 7);
  ToyTraining alone(toy_config({1, 1, 1, false, 2}, folder.corpus(), kLlamaLike));
  const Trace expected = train(alone, *loader_of_chunks(alone, dataset, {0, 1, 2, 3}));
  const auto difference = [&](int number, const std::vector<int>& first, const std::vector<int>& second) {
    ToyTraining run(ranks, number, toy_config({1, 2, 1, false, 2}, folder.corpus(), kLlamaLike));
    const auto loader = loader_of_chunks(run, dataset, ranks.rank() == 0 ? first : second);
    const Difference out = over_ranks(run.job().world(), compare(expected, train(run, *loader)));
    run.job().world().barrier();
    return out;
  };
  const Difference right = difference(0, {0, 3}, {1, 2});
  EXPECT_LE(right.loss, kTolerance);
  EXPECT_LE(right.gradient, kTolerance);
  const Difference wrong = difference(1, {0, 2}, {1, 3});
  EXPECT_GT(wrong.loss, 1e-6);
  EXPECT_GT(wrong.gradient, 1e-3);
}

}  // namespace
}  // namespace ringtron::testing

// Iterations that are skipped: their samples go by and nothing is learnt, in any layout and over a resume alike.
#include <gtest/gtest.h>

#include "ringtron/train/checkpoint_loader.h"
#include "ringtron/train/checkpoint_saver.h"
#include "tests/support/tensor_near.h"
#include "tests/train/toy_training.h"

namespace ringtron::testing {
namespace {

constexpr std::int64_t kSkipped = 3, kSavedStep = 4, kLast = 6;

// To iteration `last`, without iteration kSkipped; the losses of the steps that are made.
std::vector<double> train_to(ToyTraining& run, std::int64_t last, bool skips = true) {
  std::vector<double> losses;
  const auto loader = run.loader();
  while (run.state().progress.iteration < last) {
    if (skips && run.state().progress.iteration + 1 == kSkipped) {
      EXPECT_EQ(run.parts().step().skip(*loader), kGlobalBatch);
    } else {
      losses.push_back(run.parts().step().run(*loader).loss.item<double>());
    }
  }
  return losses;
}

void expect_same_bits(const LogicalTensors& expected, const LogicalTensors& got) {
  for (const auto& [name, tensor] : expected) EXPECT_TENSOR_EQUAL(got.at(name), tensor) << name;
}

DIST_TEST(SkippedIterations, ChangeNothingButTheCounts, 1, 2) {
  const SharedFolder folder(ranks);
  const Layout layout{1, 1, ranks.size(), false, 1, /*distributed_optimizer=*/true};
  ToyTraining run(ranks, 0, toy_config(layout, folder.corpus(), kLlamaLike));
  train_to(run, kSkipped - 1);
  const auto weights = run.weights(), first = run.first_moments(), second = run.second_moments();
  const double lr = run.state().schedule.lr();
  train_to(run, kSkipped);
  expect_same_bits(weights, run.weights());
  expect_same_bits(first, run.first_moments());
  expect_same_bits(second, run.second_moments());
  EXPECT_EQ(run.state().schedule.lr(), lr);
  EXPECT_EQ(run.state().progress.iteration, kSkipped);
  EXPECT_EQ(run.state().progress.consumed_train_samples, kSkipped * kGlobalBatch);
  EXPECT_EQ(run.state().progress.skipped_samples, kGlobalBatch);
  EXPECT_EQ(run.state().optimizer.step_count(), kSkipped);
  EXPECT_EQ(run.state().optimizer.skipped_count(), 1);
  run.job().world().barrier();
}

DIST_TEST(SkippedIterations, AreTheSameInAnyLayout, 2, 4) {
  const SharedFolder folder(ranks);
  ToyTraining one(toy_config({.micro_batch = 2}, folder.corpus(), kLlamaLike));
  const std::vector<double> expected = train_to(one, kLast);
  const LogicalTensors weights = one.weights();
  ToyTraining without(toy_config({.micro_batch = 2}, folder.corpus(), kLlamaLike));
  EXPECT_GT(std::abs(train_to(without, kLast, /*skips=*/false).back() / expected.back() - 1.0), 1e-6);  // the control

  const int half = ranks.size() / 2;
  int number = 0;
  for (const Layout& layout :
       {Layout{2, half, 1, true, 4}, Layout{1, half, 2, false, 2, /*distributed_optimizer=*/true},
        Layout{1, 1, half, false, 2, false, /*pp=*/2}}) {
    SCOPED_TRACE(layout.text());
    ToyTraining run(ranks, number++, toy_config(layout, folder.corpus(), kLlamaLike));
    const std::vector<double> losses = train_to(run, kLast);
    ASSERT_EQ(losses.size(), expected.size());
    for (std::size_t i = 0; i < losses.size(); ++i) EXPECT_NEAR(losses[i] / expected[i], 1.0, 1e-10);
    for (const auto& [name, tensor] : run.weights()) EXPECT_TENSOR_NEAR(tensor, weights.at(name), 1e-9) << name;
    run.job().world().barrier();
  }
}

DIST_TEST(SkippedIterations, AResumedRunIsTheUnbrokenOne, 2) {
  const SharedFolder folder(ranks);
  const Layout layout{1, 1, 2, false, 2};
  ToyTraining unbroken(
      ranks, 0,
      toy_config(layout, folder.corpus(), fmt::format("{} --save {} --save-interval 1", kLlamaLike, folder / "saved")));
  train_to(unbroken, kSavedStep);
  CheckpointSaver(unbroken.job()).save(unbroken.state());
  const std::vector<double> late = train_to(unbroken, kLast);
  unbroken.job().world().barrier();
  ToyTraining resumed(ranks, 1,
                      toy_config(layout, folder.corpus(), fmt::format("{} --load {}", kLlamaLike, folder / "saved")));
  ASSERT_TRUE(load_checkpoint(resumed.job(), resumed.state()));
  EXPECT_EQ(resumed.state().progress.skipped_samples, kGlobalBatch);
  EXPECT_EQ(late, train_to(resumed, kLast));
  expect_same_bits(unbroken.weights(), resumed.weights());
  resumed.job().world().barrier();
}

}  // namespace
}  // namespace ringtron::testing

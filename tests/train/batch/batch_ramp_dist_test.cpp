// A global batch that grows: sizes follow from consumed samples alone, so that layouts, pipelines and resumed runs
// agree in them.
#include <gmock/gmock.h>

#include "ringtron/train/checkpoint_loader.h"
#include "ringtron/train/checkpoint_saver.h"
#include "tests/train/layout_parity.h"

namespace ringtron::testing {
namespace {

using ::testing::ElementsAre;

constexpr const char* kBySamples = "--train-iters 0 --lr-warmup-iters 0 --train-samples 30 --lr-warmup-samples 5";
constexpr const char* kRamp = "--rampup-batch-size 2 2 9";                     // from samples 0, 3, 6, 9 on
constexpr const char* kSizes = "--step-batch-size-schedule 0:2,128:4,0.4K:8";  // tokens; from samples 0, 4, 12 on
constexpr int kSavedStep = 3;

std::string model_with(const char* schedule) {
  return fmt::format("{} --num-layers 4 {} {}", kLlamaLike, kBySamples, schedule);
}

std::vector<Way> ways(int ranks) {
  const Layout two_stages{1, 1, ranks / 2, false, 1, false, /*pp=*/2};
  std::vector<Way> out = {{{1, 1, 2, false, 1}, ""}, {{1, 2, 1, false, 2}, ""}};
  if (ranks == 4) out = {{{1, 2, 2, false, 1, /*distributed_optimizer=*/true}, ""}};
  out.push_back({two_stages, "--pipeline-schedule zero-bubble"});
  if (ranks == 2) out.push_back({two_stages, "--num-layers-per-virtual-pipeline-stage 1"});
  return out;
}

DIST_TEST(BatchRamp, EqualsOneProcess, 2, 4) {
  int number = 0;
  for (const char* schedule : {kRamp, kSizes}) {
    expect_parity_of_ways(ranks, Model{schedule, model_with(schedule)}, ways(ranks.size()), number);
    number += 10;
  }
}

struct Steps {
  std::vector<std::int64_t> samples;
  std::vector<double> losses;
};

Steps train_to(ToyTraining& run, std::int64_t last) {
  Steps steps;
  const auto loader = run.loader();
  while (run.state().progress.iteration < last) {
    const StepResult result = run.parts().step().run(*loader);
    steps.samples.push_back(result.samples);
    steps.losses.push_back(result.loss.item<double>());
  }
  return steps;
}

bool same_bits(const LogicalTensors& a, const LogicalTensors& b) {
  return std::ranges::equal(
      a, b, [](const auto& x, const auto& y) { return x.first == y.first && at::equal(x.second, y.second); });
}

DIST_TEST(BatchRamp, ResumedInItsMiddleIsTheUnbrokenRun, 1, 2) {
  const SharedFolder folder(ranks);
  const Layout layout{1, 1, 1, false, 1, false, ranks.size()};
  int number = 0;
  const auto start = [&](const std::string& flags) {
    return std::make_unique<ToyTraining>(
        ranks, number++, toy_config(layout, folder.corpus(), fmt::format("{} {}", model_with(""), flags)));
  };
  const std::string saves = fmt::format("--save {}", folder / "checkpoints");
  const auto unbroken = start(fmt::format("{} {} --save-interval 3", kRamp, saves));
  CheckpointSaver saver(unbroken->job());
  EXPECT_THAT(train_to(*unbroken, kSavedStep).samples, ElementsAre(2, 2, 4));
  saver.save(unbroken->state());
  const Steps late = train_to(*unbroken, kSteps);
  EXPECT_THAT(late.samples, ElementsAre(6, 8));
  unbroken->job().world().barrier();

  const auto resumed_with = [&](const char* schedule) {
    auto run = start(fmt::format("{} --load {}", schedule, folder / "checkpoints"));
    EXPECT_TRUE(load_checkpoint(run->job(), run->state()));
    EXPECT_EQ(run->state().progress.consumed_train_samples, 8);
    return run;
  };
  const auto resumed = resumed_with(kRamp);
  const Steps again = train_to(*resumed, kSteps);
  EXPECT_EQ(again.samples, late.samples);
  EXPECT_EQ(again.losses, late.losses);
  EXPECT_TRUE(same_bits(unbroken->weights(), resumed->weights()));
  EXPECT_TRUE(same_bits(unbroken->first_moments(), resumed->first_moments()));
  EXPECT_TRUE(same_bits(unbroken->second_moments(), resumed->second_moments()));
  EXPECT_EQ(unbroken->state().progress.consumed_train_samples, resumed->state().progress.consumed_train_samples);
  EXPECT_EQ(unbroken->state().schedule.lr(), resumed->state().schedule.lr());
  resumed->job().world().barrier();

  // Negative control: another ramp, which a load tells of.
  const auto other = resumed_with("--rampup-batch-size 2 2 30");
  EXPECT_NE(train_to(*other, kSteps).samples, late.samples);
  EXPECT_FALSE(same_bits(unbroken->weights(), other->weights()));
  other->job().world().barrier();
}

}  // namespace
}  // namespace ringtron::testing

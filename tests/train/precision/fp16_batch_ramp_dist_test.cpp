// fp16 while the global batch grows: a step that overflows takes its own samples with it, whatever their number, in any
// layout; and a run resumed between overflows, in the middle of the ramp, is the unbroken one.
#include <gmock/gmock.h>

#include <cmath>

#include "ringtron/train/checkpoint_loader.h"
#include "ringtron/train/checkpoint_saver.h"
#include "tests/train/precision/overflow.h"

namespace ringtron::testing {
namespace {

using ::testing::ElementsAre;

constexpr int kRampSteps = 7;
const std::set<std::int64_t> kOverflowing = {2, 4, 5};  // of 2, 6 and 8 samples
constexpr const char* kRamp = "--rampup-batch-size 2 2 9";
constexpr const char* kFp16 =
    "--fp16 --initial-loss-scale 4096 --loss-scale-window 1 --hysteresis 2 --train-iters 0 --train-samples 38 "
    "--lr-warmup-iters 0 --lr-decay-style linear";

struct Trace {
  std::vector<std::int64_t> samples;
  std::vector<double> losses, scales, lrs, norms;
  std::vector<int> skipped;
  LogicalTensors main;
};

Trace train(ToyTraining& run) {
  Trace trace;
  const auto loader = run.loader();
  while (run.state().progress.iteration < kRampSteps) {
    const StepResult result = run.parts().step().run(*loader);
    trace.samples.push_back(result.samples);
    trace.losses.push_back(result.loss.item<double>());
    trace.scales.push_back(result.loss_scale.item<double>());
    trace.lrs.push_back(run.state().schedule.lr());
    trace.skipped.push_back(result.skipped.item<float>() != 0 ? 1 : 0);
    trace.norms.push_back(result.grad_norm.item<double>());
  }
  trace.main = run.main_weights();
  return trace;
}

bool same(const LogicalTensors& a, const LogicalTensors& b) {
  return std::ranges::all_of(a, [&](const auto& entry) { return at::equal(entry.second, b.at(entry.first)); });
}

double distance(const LogicalTensors& a, const LogicalTensors& b) {
  double sum = 0, count = 0;
  for (const auto& [name, tensor] : a) {
    sum += (tensor.to(at::kDouble) - b.at(name).to(at::kDouble)).square().sum().item<double>();
    count += static_cast<double>(tensor.numel());
  }
  return std::sqrt(sum / count);
}

// As in loss_scale_dist_test.cpp: AdamW's first steps are as long for gradients that are nothing but rounding.
constexpr double kRoundedSteps = 1.5e-3;

std::vector<Layout> layouts(int ranks) {
  if (ranks == 2) {
    return {
        {1, 1, 2, false, 1, /*distributed_optimizer=*/true}, {1, 2, 1, false, 2}, {1, 1, 1, false, 1, false, /*pp=*/2}};
  }
  return {{2, 2, 1, true, 2}, {1, 2, 2, false, 1, true}, {1, 1, 2, false, 1, true, 2}, {2, 1, 1, true, 1, false, 2}};
}

DIST_TEST(Fp16BatchRamp, AllLayoutsLeaveOutTheSameSamples, 2, 4) {
  const SharedFolder folder(ranks);
  const std::string flags = fmt::format("{} {} --hidden-dropout 0 --attention-dropout 0", kLlamaLike, kFp16);
  const auto config = [&](const Layout& layout, const char* ramp) {
    return toy_config(layout, folder.corpus(), fmt::format("{} {}", flags, ramp));
  };
  ToyTraining alone(config({1, 1, 1, false, 2}, kRamp));
  overflow_at(alone, kOverflowing);
  const Trace expected = train(alone);
  EXPECT_THAT(expected.samples, ElementsAre(2, 2, 4, 6, 8, 8, 8));
  EXPECT_THAT(expected.skipped, ElementsAre(0, 1, 0, 1, 1, 0, 0));
  // The first overflow is borne, and a good step doubles and forgets it; of two in a row the second halves.
  EXPECT_THAT(expected.scales, ElementsAre(8192, 8192, 16384, 16384, 8192, 16384, 32768));
  EXPECT_EQ(alone.state().progress.consumed_train_samples, 38);
  EXPECT_EQ(alone.state().progress.skipped_samples, 2 + 6 + 8);
  EXPECT_EQ(alone.state().schedule.samples(), 2 + 4 + 8 + 8);
  EXPECT_EQ(expected.lrs[0], expected.lrs[1]);
  EXPECT_EQ(expected.lrs[2], expected.lrs[4]);

  int number = 0;
  for (const Layout& layout : layouts(ranks.size())) {
    SCOPED_TRACE(layout.text());
    ToyTraining run(ranks, number++, config(layout, kRamp));
    overflow_at(run, kOverflowing);
    const Trace got = train(run);
    EXPECT_EQ(got.samples, expected.samples);
    EXPECT_EQ(got.skipped, expected.skipped);
    EXPECT_EQ(got.scales, expected.scales);
    EXPECT_EQ(got.lrs, expected.lrs);
    EXPECT_EQ(run.state().progress.skipped_samples, alone.state().progress.skipped_samples);
    for (std::size_t i = 0; i < got.losses.size(); ++i) {
      EXPECT_NEAR(got.losses[i], expected.losses[i], 1e-2) << i;
      if (got.skipped[i] != 0) continue;
      EXPECT_NEAR(got.norms[i] / expected.norms[i], 1.0, 1e-2) << i;
    }
    EXPECT_LT(distance(got.main, expected.main), kRoundedSteps);
    run.job().world().barrier();
  }
  {  // negative controls: another ramp; the same ramp with another step left out
    ToyTraining other(ranks, number++, config(layouts(ranks.size())[0], "--rampup-batch-size 2 6 9"));
    overflow_at(other, kOverflowing);
    EXPECT_NE(train(other).samples, expected.samples);
    other.job().world().barrier();
    ToyTraining made(ranks, number++, config(layouts(ranks.size())[0], kRamp));
    overflow_at(made, {2, 4});
    const Trace got = train(made);
    EXPECT_EQ(got.samples, expected.samples);
    EXPECT_NE(got.lrs, expected.lrs);
    EXPECT_GT(distance(got.main, expected.main), kRoundedSteps);
    made.job().world().barrier();
  }
}

// Saved behind the step of 6 samples that was left out, before that of 8.
DIST_TEST(Fp16BatchRamp, ResumedInItsMiddleIsTheUnbrokenRun, 1, 2, 4) {
  const SharedFolder folder(ranks);
  const std::string checkpoints = folder / "checkpoints";
  const Layout layout =
      ranks.size() == 1 ? Layout{1, 1, 1, false, 1} : layouts(ranks.size())[ranks.size() == 2 ? 0 : 2];
  const auto start = [&](int number, const std::string& more) {
    auto run = std::make_unique<ToyTraining>(
        ranks, number, toy_config(layout, folder.corpus(), fmt::format("{} {} {}", kLlamaLike, kFp16, more)));
    overflow_at(*run, kOverflowing);
    return run;
  };
  constexpr int kSaved = 4;
  const auto unbroken = start(0, fmt::format("{} --save {} --save-interval {}", kRamp, checkpoints, kSaved));
  {
    const auto loader = unbroken->loader();
    for (int i = 0; i < kSaved; ++i) unbroken->parts().step().run(*loader);
    CheckpointSaver(unbroken->job()).save(unbroken->state());
  }
  const Trace late = train(*unbroken);
  EXPECT_THAT(late.samples, ElementsAre(8, 8, 8));
  EXPECT_THAT(late.skipped, ElementsAre(1, 0, 0));
  unbroken->job().world().barrier();
  const auto resume = [&](int number, const char* ramp) {
    auto run = start(number, fmt::format("{} --load {}", ramp, checkpoints));
    EXPECT_TRUE(load_checkpoint(run->job(), run->state()));
    EXPECT_EQ(run->state().progress.consumed_train_samples, 14);
    EXPECT_EQ(run->state().progress.skipped_samples, 8);
    return run;
  };
  const auto resumed = resume(1, kRamp);
  const Trace got = train(*resumed);
  EXPECT_EQ(got.samples, late.samples);
  EXPECT_EQ(got.losses, late.losses);
  EXPECT_EQ(got.scales, late.scales);
  EXPECT_EQ(got.lrs, late.lrs);
  EXPECT_TRUE(same(got.main, late.main));
  EXPECT_TRUE(same(resumed->weights(), unbroken->weights()));
  EXPECT_TRUE(same(resumed->second_moments(), unbroken->second_moments()));
  EXPECT_EQ(resumed->state().loss_scale->state(), unbroken->state().loss_scale->state());
  EXPECT_EQ(resumed->state().progress.skipped_samples, unbroken->state().progress.skipped_samples);
  resumed->job().world().barrier();
  // Negative controls: a ramp that is longer, and a count of overflows that is forgotten.
  const auto longer = resume(2, "--rampup-batch-size 2 2 30");
  EXPECT_NE(train(*longer).samples, late.samples);
  longer->job().world().barrier();
  const auto forgetful = resume(3, kRamp);
  forgetful->state().loss_scale->set_state({16384, 0, 2});
  EXPECT_NE(train(*forgetful).scales, late.scales);
  forgetful->job().world().barrier();
}

}  // namespace
}  // namespace ringtron::testing

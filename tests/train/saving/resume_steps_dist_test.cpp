// A run that ends after any step and is resumed is the unbroken run to the bit, dropout on: losses, weights, moments.
//
// Fifty more, over three layouts, by hand: resume_steps_dist_test --gtest_also_run_disabled_tests
#include <gtest/gtest.h>

#include <filesystem>

#include "ringtron/base/random.h"
#include "ringtron/train/checkpoint_loader.h"
#include "ringtron/train/checkpoint_saver.h"
#include "tests/train/toy_training.h"

namespace ringtron::testing {
namespace {

constexpr std::int64_t kLast = 24;

// What a run comes to.
struct End {
  std::vector<double> losses;
  std::vector<LogicalTensors> tensors;  // weights, main weights, moments

  // To the bit; `tail` are the steps of a run that began later.
  bool is_end_of(const End& tail) const {
    if (tail.losses.size() > losses.size() || !std::equal(tail.losses.rbegin(), tail.losses.rend(), losses.rbegin()))
      return false;
    for (std::size_t kind = 0; kind < tensors.size(); ++kind) {
      for (const auto& [name, tensor] : tensors[kind]) {
        if (!tensor.equal(tail.tensors[kind].at(name))) return false;
      }
    }
    return true;
  }
};

class ResumeSteps {
 public:
  ResumeSteps(RankContext& ranks, Layout layout, std::string model)
      : ranks_(ranks), layout_(layout), model_(std::move(model)), folder_(ranks) {}

  // Resumes after `trials` random steps.
  void check(int trials) {
    const End unbroken = run_and_save_every_step();
    int equal = 0, different = 0;
    for (int trial = 0; trial < trials; ++trial) {
      const auto step = static_cast<std::int64_t>(
          1 + random_word(static_cast<std::uint64_t>(trials), static_cast<std::uint64_t>(trial), 0) % (kLast - 1));
      equal += unbroken.is_end_of(resume(step, ""));
      if (trial % 5 != 0) continue;
      different +=
          !unbroken.is_end_of(resume(step, "--no-load-optim")) && !unbroken.is_end_of(resume(step, "--seed 4321"));
    }
    EXPECT_EQ(equal, trials);
    EXPECT_EQ(different, (trials + 4) / 5);  // negative controls
    if (ranks_.rank() == 0) {
      std::printf("%s: %d of %d resumed runs are the unbroken one to the bit, %d controls are not\n",
                  layout_.text().c_str(), equal, trials, different);
    }
    ranks_.world().barrier();
  }

 private:
  std::string saved() const { return folder_ / "saved"; }

  std::unique_ptr<ToyTraining> start(const std::string& flags, InitialValues values) {
    ranks_.world().barrier();
    const Config config =
        toy_config(layout_, folder_.corpus(), fmt::format("{} --train-iters {} {}", model_, kLast, flags));
    return std::make_unique<ToyTraining>(ranks_, runs_++, config, make_cp_attention, values);
  }

  template <class AfterStep>
  End train(ToyTraining& run, AfterStep after_step) {
    End end;
    const auto loader = run.loader();
    while (run.state().progress.iteration < kLast) {
      end.losses.push_back(run.parts().step().run(*loader).loss.template item<double>());
      after_step();
    }
    end.tensors = {run.weights(), run.main_weights(), run.first_moments(), run.second_moments()};
    return end;
  }

  End run_and_save_every_step() {
    const auto run = start(fmt::format("--save {} --save-interval 1", saved()), InitialValues::drawn);
    CheckpointSaver saver(run->job());
    const End end = train(*run, [&] {
      if (saver.is_under_way()) saver.finish();
      saver.begin(run->state());
    });
    saver.finish();
    return end;
  }

  End resume(std::int64_t step, const std::string& flags) {
    const auto run = start(fmt::format("--load {} --ckpt-step {} {}", saved(), step, flags), InitialValues::deferred);
    EXPECT_TRUE(load_checkpoint(run->job(), run->state()));
    EXPECT_EQ(run->state().progress.iteration, step);
    return train(*run, [] {});
  }

  RankContext& ranks_;
  const Layout layout_;
  const std::string model_;
  SharedFolder folder_;
  int runs_ = 0;
};

const Layout kSharded{1, 1, 2, false, 2, /*distributed_optimizer=*/true};
const Layout kContext{1, 2, 1, false, 4};
const Layout kStages{1, 1, 1, false, 2, false, /*pp=*/2};
const std::string kHalf = fmt::format("{} --bf16", kGptLike);

DIST_TEST(ResumeSteps, AreTheUnbrokenRun, 2) { ResumeSteps(ranks, kSharded, kHalf).check(5); }

DIST_TEST(ResumeSteps, DISABLED_OfADistributedOptimizerInBf16, 2) { ResumeSteps(ranks, kSharded, kHalf).check(18); }
DIST_TEST(ResumeSteps, DISABLED_OverContextRanks, 2) { ResumeSteps(ranks, kContext, kLlamaLike).check(16); }
DIST_TEST(ResumeSteps, DISABLED_OfAPipeline, 2) { ResumeSteps(ranks, kStages, kGptLike).check(16); }

}  // namespace
}  // namespace ringtron::testing

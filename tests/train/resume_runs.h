// What tests of resumed runs share: runs that save and load, their states, and the comparison to the bit.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ringtron/train/checkpoint_loader.h"
#include "ringtron/train/checkpoint_saver.h"
#include "tests/support/unwritten_is_nan.h"
#include "tests/train/toy_training.h"

namespace ringtron::testing {

inline constexpr int kSavedStep = 3;

// All tensors of a state, and what else a run goes on from.
struct Snapshot {
  LogicalTensors weights, main, first_moments, second_moments;
  std::int64_t iteration = 0, samples = 0, optimizer_steps = 0;
  double lr = 0.0;
};

inline Snapshot snapshot(ToyTraining& run) {
  const TrainingState& state = run.state();
  return {run.weights(),
          run.main_weights(),
          run.first_moments(),
          run.second_moments(),
          state.progress.iteration,
          state.progress.consumed_train_samples,
          state.optimizer.step_count(),
          state.schedule.lr()};
}

inline void expect_same_bits(const LogicalTensors& expected, const LogicalTensors& got, const char* what) {
  ASSERT_EQ(expected.size(), got.size()) << what;
  for (const auto& [name, tensor] : expected) {
    EXPECT_TRUE(at::equal(tensor, got.at(name))) << what << " of " << name;
  }
}

inline void expect_same_bits(const Snapshot& expected, const Snapshot& got) {
  expect_same_bits(expected.weights, got.weights, "weight");
  expect_same_bits(expected.main, got.main, "main weight");
  expect_same_bits(expected.first_moments, got.first_moments, "first moment");
  expect_same_bits(expected.second_moments, got.second_moments, "second moment");
  EXPECT_EQ(expected.iteration, got.iteration);
  EXPECT_EQ(expected.samples, got.samples);
  EXPECT_EQ(expected.optimizer_steps, got.optimizer_steps);
  EXPECT_EQ(expected.lr, got.lr);
}

// The losses of the steps up to `last`.
inline std::vector<double> train_to(ToyTraining& run, std::int64_t last) {
  std::vector<double> losses;
  const auto loader = run.loader();
  while (run.state().progress.iteration < last) {
    losses.push_back(run.parts().step().run(*loader).loss.item<double>());
  }
  return losses;
}

// Runs of one test on the same corpus and checkpoint folder, numbered from `first_number` on: no two runs of
// a test may have the same number.
class Runs {
 public:
  Runs(RankContext& ranks, std::string model_flags, int first_number = 0)
      : ranks_(ranks), model_flags_(std::move(model_flags)), folder_(ranks), number_(first_number) {}

  std::string checkpoints() const { return folder_ / "checkpoints"; }

  std::unique_ptr<ToyTraining> start(const Layout& layout, const std::string& flags,
                                     InitialValues values = InitialValues::drawn) {
    const Config config = toy_config(layout, folder_.corpus(), model_flags_ + ' ' + flags);
    return std::make_unique<ToyTraining>(ranks_, number_++, config, make_cp_attention, values);
  }
  std::unique_ptr<ToyTraining> start_saving(const Layout& layout) {
    return start(layout, fmt::format("--save {} --save-interval {}", checkpoints(), kSavedStep));
  }
  std::unique_ptr<ToyTraining> resume(const Layout& layout, const std::string& flags = "") {
    // As training does: what the load does not write has no value, here NaN.
    const UnwrittenIsNan nan;
    auto run = start(layout, fmt::format("--load {} {}", checkpoints(), flags), InitialValues::deferred);
    EXPECT_TRUE(load_checkpoint(run->job(), run->state()));
    return run;
  }

 private:
  RankContext& ranks_;
  std::string model_flags_;
  SharedFolder folder_;
  int number_;
};

// What an unbroken run did that saved on its way.
struct Unbroken {
  Snapshot saved, end;
  std::vector<double> late_losses;
};

inline Unbroken run_and_save(Runs& runs, const Layout& layout) {
  const auto run = runs.start_saving(layout);
  CheckpointSaver saver(run->job());
  Unbroken out;
  train_to(*run, kSavedStep);
  saver.save(run->state());
  out.saved = snapshot(*run);
  out.late_losses = train_to(*run, kSteps);
  out.end = snapshot(*run);
  run->job().world().barrier();
  return out;
}

inline void expect_bitwise_resume(Runs runs, const Layout& layout) {
  const Unbroken unbroken = run_and_save(runs, layout);
  const auto run = runs.resume(layout);
  expect_same_bits(unbroken.saved, snapshot(*run));
  EXPECT_EQ(unbroken.late_losses, train_to(*run, kSteps));
  expect_same_bits(unbroken.end, snapshot(*run));
  run->job().world().barrier();
}

}  // namespace ringtron::testing

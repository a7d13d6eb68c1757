// A run that is saved and resumed goes on as if nothing had happened: to the bit in the same layout, and from
// bit-equal weights and moments in any other.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "ringtron/base/error.h"
#include "ringtron/checkpoint/checkpoint_finder.h"
#include "tests/train/resume_runs.h"

namespace ringtron::testing {
namespace {

using ::testing::HasSubstr;

DIST_TEST(Resume, SameLayoutIsBitwiseTheUnbrokenRun, 1, 4) {
  const bool alone = ranks.size() == 1;
  expect_bitwise_resume(Runs(ranks, kLlamaLike), alone ? Layout{1, 1, 1, false, 4} : Layout{2, 2, 1, true, 4});
  expect_bitwise_resume(Runs(ranks, kGptLike, 100), alone ? Layout{1, 1, 1, false, 4} : Layout{2, 1, 2, false, 2});
}

DIST_TEST(Resume, OtherLayoutsHoldTheSameBitsAndGoOn, 4) {
  int first_number = 0;
  for (const char* model : {kLlamaLike, kGptLike}) {
    Runs runs(ranks, model, first_number);
    first_number += 100;
    const Unbroken unbroken = run_and_save(runs, {2, 2, 1, true, 4});
    for (const Layout& layout : {Layout{4, 1, 1, true, 8}, Layout{1, 4, 1, false, 2}, Layout{1, 1, 4, false, 1},
                                 Layout{1, 2, 2, false, 4}, Layout{2, 1, 2, false, 2}}) {
      SCOPED_TRACE(layout.text());
      const auto run = runs.resume(layout);
      expect_same_bits(unbroken.saved, snapshot(*run));
      const std::vector<double> losses = train_to(*run, kSteps);
      ASSERT_EQ(losses.size(), unbroken.late_losses.size());
      for (std::size_t i = 0; i < losses.size(); ++i) {
        EXPECT_NEAR(losses[i] / unbroken.late_losses[i], 1.0, 1e-10) << "step " << kSavedStep + i + 1;
      }
      run->job().world().barrier();
    }
  }
}

// Ranges of elements, which the ranks own, from and to any layout, with and without.
DIST_TEST(Resume, DistributedOptimizerToAndFromAnyLayout, 4) {
  const std::vector<Layout> layouts = {{2, 2, 1, true, 4, false},
                                       {1, 1, 4, false, 1, true},
                                       {2, 1, 2, true, 2, true},
                                       {1, 4, 1, false, 4, true},
                                       {1, 2, 2, false, 2, false}};
  int first_number = 0;
  for (const Layout& saved : layouts) {
    Runs runs(ranks, first_number % 200 == 0 ? kLlamaLike : kGptLike, first_number);
    first_number += 100;
    const Unbroken unbroken = run_and_save(runs, saved);
    for (const Layout& layout : layouts) {
      if (!saved.distributed_optimizer && !layout.distributed_optimizer) continue;
      SCOPED_TRACE(saved.text() + " -> " + layout.text());
      const auto run = runs.resume(layout);
      expect_same_bits(unbroken.saved, snapshot(*run));
      run->job().world().barrier();
    }
  }
}

DIST_TEST(Resume, DistributedOptimizerIsBitwiseTheUnbrokenRun, 2) {
  expect_bitwise_resume(Runs(ranks, kLlamaLike), Layout{1, 1, 2, false, 2, true});
  const char* overlapped = "--bf16 --ddp-bucket-size 500";
  expect_bitwise_resume(Runs(ranks, fmt::format("{} {}", kGptLike, overlapped), 100), Layout{1, 2, 1, false, 4, true});
}

// Main weights too, whose halves lie with other ranks than the weights.
DIST_TEST(Resume, DistributedOptimizerInBf16, 4) {
  const Layout sharded{2, 1, 2, true, 2, true}, whole{1, 2, 2, false, 4, false};
  int first_number = 0;
  for (const auto& [saved, loaded] : {std::pair{sharded, whole}, {whole, sharded}, {sharded, sharded}}) {
    Runs runs(ranks, std::string(kLlamaLike) + " --bf16", first_number);
    first_number += 100;
    const Unbroken unbroken = run_and_save(runs, saved);
    const auto run = runs.resume(loaded);
    expect_same_bits(unbroken.saved, snapshot(*run));
    run->job().world().barrier();
  }
}

// Stages hold other tensors each, and a tied word embedding both ends: from a pipeline and into one.
DIST_TEST(Resume, PipelinesHoldTheSameBitsAndGoOn, 4) {
  constexpr bool kNoSp = false;
  const Layout two_stages{1, 1, 2, kNoSp, 2, false, /*pp=*/2}, four_stages{1, 1, 1, kNoSp, 4, false, /*pp=*/4},
      none{2, 2, 1, kNoSp, 4};
  const Layout sharded{1, 1, 2, kNoSp, 2, /*distributed_optimizer=*/true, /*pp=*/2};
  const Layout with_tensor{2, 1, 1, /*sequence_parallel=*/true, 2, false, /*pp=*/2};
  int first_number = 0;
  for (const char* model : {kLlamaLike, kGptLike}) {
    for (const auto& [from, into] : std::vector<std::pair<Layout, std::vector<Layout>>>{
             {two_stages, {two_stages, four_stages, none, with_tensor, sharded}},
             {none, {with_tensor, four_stages}},
             {sharded, {four_stages, none}}}) {
      Runs runs(ranks, fmt::format("{} --num-layers 4", model), first_number);
      first_number += 100;
      const Unbroken unbroken = run_and_save(runs, from);
      for (const Layout& layout : into) {
        SCOPED_TRACE(layout.text());
        const bool several = layout.pp == 2;
        const auto run = runs.resume(layout, several ? "--num-layers-per-virtual-pipeline-stage 1" : "");
        expect_same_bits(unbroken.saved, snapshot(*run));
        const std::vector<double> losses = train_to(*run, kSteps);
        ASSERT_EQ(losses.size(), unbroken.late_losses.size());
        for (std::size_t i = 0; i < losses.size(); ++i)
          EXPECT_NEAR(losses[i] / unbroken.late_losses[i], 1.0, 1e-10) << "step " << kSavedStep + i + 1;
        run->job().world().barrier();
      }
    }
  }
}

// What is being written is the state at which the save began, though training goes on meanwhile.
DIST_TEST(Resume, ASaveBesideTrainingHoldsTheStateAtWhichItBegan, 4) {
  for (const char* model : {kLlamaLike, kGptLike}) {
    const bool sharded = model == kLlamaLike;
    const char* how = sharded ? "--ddp-bucket-size 500" : "";
    Runs runs(ranks, fmt::format("{} --bf16 {}", model, how), sharded ? 0 : 100);
    const Layout layout{2, 1, 2, true, 2, /*distributed_optimizer=*/sharded};
    Snapshot saved;
    {
      const auto run = runs.start_saving(layout);
      CheckpointSaver saver(run->job());
      train_to(*run, kSavedStep);
      saver.begin(run->state());
      EXPECT_TRUE(saver.is_under_way());
      EXPECT_EQ(saver.iteration_under_way(), kSavedStep);
      saved = snapshot(*run);
      train_to(*run, kSteps);
      saver.finish();
      EXPECT_FALSE(saver.is_under_way());
      run->job().world().barrier();
    }
    const auto run = runs.resume({1, 2, 2, false, 2, sharded});
    expect_same_bits(saved, snapshot(*run));
    run->job().world().barrier();
  }
}

// Also where the folder goes while it is written: all ranks hear it, nothing is left, and the next save works.
DIST_TEST(Resume, ASaveBesideTrainingThatFailsLeavesNothing, 2) {
  Runs runs(ranks, kLlamaLike);
  const auto run = runs.start_saving({1, 2, 1, false, 4});
  CheckpointSaver saver(run->job());
  train_to(*run, 1);
  saver.begin(run->state());
  while (!saver.has_been_written()) {
  }
  if (ranks.rank() == 0) {
    for (const auto& entry : std::filesystem::directory_iterator(runs.checkpoints())) {
      if (entry.path().filename().string().starts_with(".iter_")) std::filesystem::remove_all(entry.path());
    }
  }
  run->job().world().barrier();
  EXPECT_THROW(saver.finish(), IoError);
  EXPECT_FALSE(saver.is_under_way());
  EXPECT_FALSE(find_newest_checkpoint(runs.checkpoints()).newest.has_value());
  train_to(*run, 2);
  saver.begin(run->state());
  saver.finish();
  EXPECT_EQ(find_newest_checkpoint(runs.checkpoints()).newest.value().iteration, 2);
  run->job().world().barrier();
}

DIST_TEST(Resume, RetentionKeepsMultiplesTheNewestAndWhatIsNotOurs, 2) {
  Runs runs(ranks, kLlamaLike);
  const auto save_at = [&](ToyTraining& run, std::initializer_list<int> steps) {
    CheckpointSaver saver(run.job());
    for (const int step : steps) {
      train_to(run, step);
      saver.save(run.state());
    }
    run.job().world().barrier();
  };
  const Layout layout{1, 2, 1, false, 4};
  const std::string flags = fmt::format("--save {} --save-interval 1 --save-retain-interval 2", runs.checkpoints());
  save_at(*runs.start(layout, fmt::format("--save {} --save-interval 1", runs.checkpoints())), {1});  // another run's
  save_at(*runs.start(layout, flags), {2, 3});
  EXPECT_EQ(list_iterations(runs.checkpoints()), (std::vector<std::int64_t>{1, 2, 3}));
  save_at(*runs.resume(layout, flags), {4, 5});
  EXPECT_EQ(list_iterations(runs.checkpoints()), (std::vector<std::int64_t>{1, 2, 4, 5}));
  ranks.world().barrier();  // the first rank removes the folder
}

DIST_TEST(Resume, Bf16KeepsItsMainWeights, 2) {
  Runs runs(ranks, std::string(kLlamaLike) + " --bf16");
  const Unbroken unbroken = run_and_save(runs, {2, 1, 1, false, 4});
  // They are more than the rounded weights are.
  const auto& [name, main] = *unbroken.saved.main.begin();
  EXPECT_EQ(main.scalar_type(), at::kFloat);
  EXPECT_FALSE(at::equal(main, unbroken.saved.weights.at(name).to(at::kFloat)));
  {
    const auto same = runs.resume({2, 1, 1, false, 4});
    expect_same_bits(unbroken.saved, snapshot(*same));
    EXPECT_EQ(unbroken.late_losses, train_to(*same, kSteps));
    expect_same_bits(unbroken.end, snapshot(*same));
    same->job().world().barrier();
  }
  const auto other = runs.resume({1, 2, 1, false, 4});
  expect_same_bits(unbroken.saved, snapshot(*other));
}

DIST_TEST(Resume, NoLoadOptimKeepsTheScheduleAndForgetsTheMoments, 2) {
  Runs runs(ranks, kGptLike);
  const Unbroken unbroken = run_and_save(runs, {2, 1, 1, false, 4});
  const auto run = runs.resume({1, 2, 1, false, 4}, "--no-load-optim");
  const Snapshot got = snapshot(*run);
  expect_same_bits(unbroken.saved.weights, got.weights, "weight");
  EXPECT_EQ(got.iteration, kSavedStep);
  EXPECT_EQ(got.samples, kSavedStep * kGlobalBatch);
  EXPECT_EQ(got.lr, unbroken.saved.lr);
  EXPECT_EQ(got.optimizer_steps, 0);
  for (const auto& [name, moment] : got.first_moments) EXPECT_EQ(moment.abs().max().item<double>(), 0.0) << name;
  for (const auto& [name, moment] : got.second_moments) EXPECT_EQ(moment.abs().max().item<double>(), 0.0) << name;
}

DIST_TEST(Resume, FinetuneTakesWeightsAndStartsAtZero, 2) {
  Runs runs(ranks, kGptLike);
  const Unbroken unbroken = run_and_save(runs, {2, 1, 1, false, 4});
  const auto run = runs.resume({2, 1, 1, false, 4}, "--finetune");
  const Snapshot got = snapshot(*run);
  expect_same_bits(unbroken.saved.weights, got.weights, "weight");
  EXPECT_EQ(got.iteration, 0);
  EXPECT_EQ(got.samples, 0);
  EXPECT_EQ(got.optimizer_steps, 0);
}

// Flips one bit in the middle of a shard of this checkpoint; returns the shard's name.
std::string damage_a_shard(const std::filesystem::path& checkpoint) {
  for (const auto& entry : std::filesystem::directory_iterator(checkpoint)) {
    if (entry.path().extension() != ".safetensors") continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    const auto middle = static_cast<std::streamoff>(entry.file_size() / 2);
    file.seekg(middle);
    const int byte = file.get();
    file.seekp(middle);
    file.put(static_cast<char>(byte ^ 1));
    return entry.path().filename().string();
  }
  ADD_FAILURE() << "expected a shard in " << checkpoint;
  return "";
}

DIST_TEST(Resume, DamagedCheckpointIsNamedOnAllRanksWithThePreviousOne, 2) {
  Runs runs(ranks, kGptLike);
  std::string newest;
  {
    const auto run = runs.start_saving({1, 2, 1, false, 4});
    CheckpointSaver saver(run->job());
    for (const int step : {2, 4}) {
      train_to(*run, step);
      saver.save(run->state());
    }
    newest = find_newest_checkpoint(runs.checkpoints()).newest.value().folder.string();
    run->job().world().barrier();
  }
  std::string shard;
  if (ranks.rank() == 0) shard = damage_a_shard(newest);
  shard = gather_texts(ranks.world(), shard)[0];

  const auto run = runs.start({2, 1, 1, false, 4}, "--load " + runs.checkpoints());
  try {
    load_checkpoint(run->job(), run->state());
    ADD_FAILURE() << "expected an IoError about " << shard;
  } catch (const IoError& e) {
    EXPECT_THAT(e.what(), HasSubstr(shard));
    EXPECT_THAT(e.what(), HasSubstr(newest));
    EXPECT_THAT(e.what(), HasSubstr("--ckpt-step 2"));
  }
  // The advice works.
  run->job().world().barrier();
  EXPECT_EQ(runs.resume({2, 1, 1, false, 4}, "--ckpt-step 2")->state().progress.iteration, 2);
}

DIST_TEST(Resume, AnotherModelsCheckpointIsRefused, 2) {
  Runs runs(ranks, kGptLike);
  run_and_save(runs, {2, 1, 1, false, 4});
  const auto run = runs.start({2, 1, 1, false, 4}, "--ffn-hidden-size 96 --load " + runs.checkpoints());
  EXPECT_THROW(load_checkpoint(run->job(), run->state()), ConfigError);
}

}  // namespace
}  // namespace ringtron::testing

// Checkpoints of SGD and Muon: to the bit in the same layout, from bit-equal state in any other, and refused where the
// state is another optimizer's.
#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "tests/train/resume_runs.h"

namespace ringtron::testing {
namespace {

using ::testing::HasSubstr;

constexpr const char* kMuon = "--optimizer muon --muon-nesterov --muon-extra-scale-factor 0.2";
constexpr const char* kSgd = "--optimizer sgd --lr 0.1";

std::string with(const char* model, const char* flags) { return fmt::format("{} {}", model, flags); }

DIST_TEST(OptimizerResume, SameLayoutIsBitwiseTheUnbrokenRun, 1, 4) {
  const bool alone = ranks.size() == 1;
  const Layout layout = alone ? Layout{1, 1, 1, false, 4} : Layout{2, 1, 2, true, 2, /*distributed_optimizer=*/true};
  expect_bitwise_resume(Runs(ranks, with(kLlamaLike, kMuon)), layout);
  expect_bitwise_resume(Runs(ranks, with(kGptLike, kSgd), 100), layout);
  const std::string bf16 = fmt::format("{} --bf16 {}", kMuon, alone ? "" : "--ddp-bucket-size 500");
  expect_bitwise_resume(Runs(ranks, with(kGptLike, bf16.c_str()), 200), layout);
}

DIST_TEST(OptimizerResume, OtherLayoutsHoldTheSameBitsAndGoOn, 4) {
  int first_number = 0;
  for (const char* optimizer : {kMuon, kSgd}) {
    for (const Layout& saved : {Layout{2, 2, 1, true, 4}, Layout{2, 1, 2, false, 2, true}}) {
      Runs runs(ranks, fmt::format("{} --num-layers 4 {}", kLlamaLike, optimizer), first_number);
      first_number += 100;
      const Unbroken unbroken = run_and_save(runs, saved);
      for (const Layout& layout :
           {Layout{4, 1, 1, true, 8}, Layout{1, 1, 4, false, 1, true}, Layout{1, 2, 1, false, 2, false, /*pp=*/2},
            Layout{1, 1, 2, false, 2, true, /*pp=*/2}}) {
        SCOPED_TRACE(saved.text() + " -> " + layout.text());
        const auto run = runs.resume(layout);
        expect_same_bits(unbroken.saved, snapshot(*run));
        const std::vector<double> losses = train_to(*run, kSteps);
        ASSERT_EQ(losses.size(), unbroken.late_losses.size());
        for (std::size_t i = 0; i < losses.size(); ++i) EXPECT_NEAR(losses[i] / unbroken.late_losses[i], 1.0, 1e-10);
        run->job().world().barrier();
      }
    }
  }
}

DIST_TEST(OptimizerResume, StateOfAnotherOptimizerIsRefused, 1) {
  Runs runs(ranks, kLlamaLike);
  const Layout layout{1, 1, 1, false, 4};
  const Unbroken unbroken = run_and_save(runs, layout);
  const std::string load = fmt::format("--load {} --optimizer muon", runs.checkpoints());
  const auto run = runs.start(layout, load, InitialValues::deferred);
  try {
    load_checkpoint(run->job(), run->state());
    FAIL() << "loaded";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("has the state of --optimizer adam, this run is of --optimizer muon. Add "
                                        "--no-load-optim"));
  }
  const auto fresh = runs.resume(layout, "--optimizer muon --no-load-optim");
  expect_same_bits(unbroken.saved.weights, fresh->weights(), "weight");
}

}  // namespace
}  // namespace ringtron::testing

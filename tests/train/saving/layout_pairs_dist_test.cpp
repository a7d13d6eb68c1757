// What any layout has saved any other loads to the bit: all ordered pairs of 20 layouts of 1 to 8 ranks, of tensor,
// context, data and pipeline parallelism, several model chunks a stage, and the optimizer's state whole or shared out.
//
// Others of the model, by hand: layout_pairs_dist_test --gtest_also_run_disabled_tests
#include <gtest/gtest.h>

#include <filesystem>
#include <optional>

#include "ringtron/train/checkpoint_loader.h"
#include "ringtron/train/checkpoint_saver.h"
#include "tests/train/toy_training.h"

namespace ringtron::testing {
namespace {

namespace fs = std::filesystem;

constexpr int kSavedStep = 2;

struct Case {
  Layout layout;
  const char* flags = "";
};

constexpr const char* kChunks = "--num-layers-per-virtual-pipeline-stage 1";
constexpr const char* kUneven = "--decoder-first-pipeline-num-layers 1 --decoder-last-pipeline-num-layers 1";

// TP, CP, DP, sequence parallel, micro-batch, distributed optimizer, PP.
const std::vector<Case> kCases = {
    {{1, 1, 1, false, 8}},
    {{2, 1, 1, true, 8}},
    {{1, 2, 1, false, 8}},
    {{1, 1, 2, false, 4}},
    {{1, 1, 2, false, 4, true}},
    {{1, 1, 1, false, 4, false, 2}, kChunks},
    {{1, 1, 1, false, 4, false, 3}, kUneven},
    {{1, 4, 1, false, 8}},
    {{2, 2, 1, true, 8}},
    {{2, 1, 2, true, 4, true}},
    {{1, 1, 2, false, 2, true, 2}, kChunks},
    {{1, 1, 1, false, 2, false, 4}},
    {{1, 1, 2, false, 4, true, 3}, kUneven},
    {{8, 1, 1, true, 8}},
    {{1, 8, 1, false, 8}},
    {{1, 1, 8, false, 1, true}},
    {{2, 2, 2, true, 4, true}},
    {{2, 2, 1, true, 4, false, 2}, kChunks},
    {{1, 2, 2, false, 2, true, 2}, kChunks},
    {{1, 1, 2, false, 2, true, 4}},
};

// All that a load writes on this rank.
std::vector<at::Tensor> loaded_tensors(TrainingState& state) {
  std::vector<at::Tensor> out;
  for (const Parameter* parameter : state.store.all()) out.push_back(parameter->value.detach());
  for (const OptimizerState& s : state.optimizer.states()) {
    for (const at::Tensor& tensor : {s.lower, s.whole, s.exp_avg, s.exp_avg_sq}) {
      if (tensor.defined()) out.push_back(tensor);
    }
  }
  return out;
}

// As a run before the load never has it: what the load leaves out shows.
void overwrite(TrainingState& state) {
  const at::NoGradGuard no_grad;
  for (const at::Tensor& tensor : loaded_tensors(state)) tensor.fill_(77);
  state.progress = {};
  state.optimizer.set_step_count(0);
}

std::vector<at::Tensor> copies_of(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> out;
  for (const at::Tensor& tensor : tensors) out.push_back(tensor.clone());
  return out;
}

bool are_equal(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const at::Tensor& x, const at::Tensor& y) { return x.equal(y); });
}

// The model as one process would hold it.
struct Whole {
  LogicalTensors weights, main, first_moments, second_moments;
  explicit Whole(ToyTraining& run)
      : weights(run.weights()),
        main(run.main_weights()),
        first_moments(run.first_moments()),
        second_moments(run.second_moments()) {}
};

void expect_equal(const LogicalTensors& expected, const LogicalTensors& got, const char* what) {
  ASSERT_EQ(expected.size(), got.size()) << what;
  for (const auto& [name, tensor] : expected) EXPECT_TRUE(tensor.equal(got.at(name))) << what << " of " << name;
}

void expect_equal(const Whole& expected, const Whole& got) {
  expect_equal(expected.weights, got.weights, "weight");
  expect_equal(expected.main, got.main, "main weight");
  expect_equal(expected.first_moments, got.first_moments, "first moment");
  expect_equal(expected.second_moments, got.second_moments, "second moment");
}

class Pairs {
 public:
  Pairs(RankContext& ranks, std::string model) : ranks_(ranks), model_(std::move(model)), folder_(ranks) {}

  // From all layouts into every second one, beginning with number `first`: a test has a limit of time.
  void check_into(std::size_t first) {
    train_and_save();
    for (std::size_t i = 1; i < kCases.size(); ++i) save_as(i);
    int pairs = 0;
    for (std::size_t into = first; into < kCases.size(); into += 2) pairs += load_all(kCases[into]);
    if (ranks_.rank() == 0) std::printf("%d ordered pairs of %zu layouts are equal to the bit\n", pairs, kCases.size());
    ranks_.world().barrier();
  }

 private:
  // Where a run loads from; the checkpoints lie beside it, and each comes here by a new name.
  fs::path current() const { return folder_ / "current"; }
  fs::path saved_by(std::size_t number) const { return folder_ / fmt::format("saved_{}", number); }
  fs::path later() const { return folder_ / "later"; }

  // Nothing on ranks that the layout does not have.
  std::unique_ptr<ToyTraining> start(const Case& one, const std::string& flags) {
    ranks_.world().barrier();  // the run before has read and written all it will
    ++runs_;
    if (ranks_.rank() >= one.layout.ranks()) return nullptr;
    RendezvousOptions options = ranks_.options();
    options.world_size = one.layout.ranks();
    RankContext few(options);
    const Config config =
        toy_config(one.layout, folder_.corpus(), fmt::format("{} --num-layers 4 {} {}", model_, one.flags, flags));
    return std::make_unique<ToyTraining>(few, runs_, config, make_cp_attention, InitialValues::deferred);
  }

  // The state of all checkpoints, by the first layout, and one of a later step.
  void train_and_save() {
    const Case& first = kCases.front();
    const auto run = start(first, fmt::format("--save {} --save-interval 1", saved_by(0).string()));
    if (run) {
      run->parts().start_from_initial_values();
      CheckpointSaver saver(run->job());
      const auto loader = run->loader();
      for (int step = 0; step < kSavedStep; ++step) run->parts().step().run(*loader);
      saver.save(run->state());
      expected_.emplace(*run);
      run->parts().step().run(*loader);
      fs::rename(saved_by(0), current());  // the saver makes it again
      saver.save(run->state());
      fs::rename(saved_by(0), later());
      fs::rename(current(), saved_by(0));
    }
  }

  // The same state as another layout writes it.
  void save_as(std::size_t number) {
    const auto run = start(kCases[number], fmt::format("--save {} --save-interval 1 --load {}",
                                                       saved_by(number).string(), saved_by(0).string()));
    if (!run) return;
    ASSERT_TRUE(load_checkpoint(run->job(), run->state()));
    CheckpointSaver(run->job()).save(run->state());
  }

  void load(ToyTraining& run, const fs::path& from) {
    overwrite(run.state());
    Communicator& world = run.job().world();
    if (world.rank() == 0) fs::rename(from, current());
    world.barrier();
    EXPECT_TRUE(load_checkpoint(run.job(), run.state()));
    world.barrier();
    if (world.rank() == 0) fs::rename(current(), from);
    EXPECT_EQ(run.state().progress.iteration, from == later() ? kSavedStep + 1 : kSavedStep);
    EXPECT_EQ(run.state().optimizer.step_count(), run.state().progress.iteration);
  }

  // Into one layout from all. What the first load has brought is compared as a whole, the others with it.
  int load_all(const Case& into) {
    SCOPED_TRACE("into " + into.layout.text() + ' ' + into.flags);
    const auto run = start(into, "--load " + current().string());
    if (!run) return 0;
    load(*run, saved_by(0));
    const Whole whole(*run);
    if (expected_) expect_equal(*expected_, whole);  // rank 0 has trained them
    const std::vector<at::Tensor> expected = copies_of(loaded_tensors(run->state()));
    load(*run, later());  // negative control
    EXPECT_FALSE(are_equal(expected, loaded_tensors(run->state())));
    for (std::size_t from = 0; from < kCases.size(); ++from) {
      load(*run, saved_by(from));
      EXPECT_TRUE(are_equal(expected, loaded_tensors(run->state())))
          << "from " << kCases[from].layout.text() << ' ' << kCases[from].flags;
    }
    return static_cast<int>(kCases.size());
  }

  RankContext& ranks_;
  std::string model_;
  SharedFolder folder_;
  int runs_ = 0;
  std::optional<Whole> expected_;
};

// Tied embeddings, gated rows, fewer key heads than query heads, and main weights beside those of 16 bits.
constexpr const char* kMixed =
    "--bf16 --swiglu --ffn-hidden-size 48 --group-query-attention --num-query-groups 8 --qk-layernorm";

DIST_TEST(LayoutPairs, IntoTheFirstThirdAndSoOn, 8) { Pairs(ranks, kMixed).check_into(0); }
DIST_TEST(LayoutPairs, IntoTheSecondFourthAndSoOn, 8) { Pairs(ranks, kMixed).check_into(1); }

constexpr const char* kHalfGpt = "--qk-layernorm --ffn-hidden-size 64 --fp16 --initial-loss-scale 1024";

DIST_TEST(LayoutPairs, DISABLED_LlamaLikeInFp64IntoTheFirst, 8) { Pairs(ranks, kLlamaLike).check_into(0); }
DIST_TEST(LayoutPairs, DISABLED_LlamaLikeInFp64IntoTheSecond, 8) { Pairs(ranks, kLlamaLike).check_into(1); }
DIST_TEST(LayoutPairs, DISABLED_GptLikeInFp16IntoTheFirst, 8) { Pairs(ranks, kHalfGpt).check_into(0); }
DIST_TEST(LayoutPairs, DISABLED_GptLikeInFp16IntoTheSecond, 8) { Pairs(ranks, kHalfGpt).check_into(1); }

}  // namespace
}  // namespace ringtron::testing

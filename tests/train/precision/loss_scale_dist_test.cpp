// Training in fp16: a gradient that overflows on one rank alone makes all ranks leave the step out, in any layout the
// same steps, with no bit of weights and moments changed; and the scale goes on after a load where it was.
#include <gmock/gmock.h>

#include <cmath>
#include <set>

#include "ringtron/train/checkpoint_loader.h"
#include "ringtron/train/checkpoint_saver.h"
#include "tests/support/unwritten_is_nan.h"
#include "tests/train/precision/overflow.h"

namespace ringtron::testing {
namespace {

using ::testing::ElementsAre;

constexpr int kLength = 8;
const std::set<std::int64_t> kOverflows = {2, 3, 6};  // iterations, counted from 1
constexpr const char* kFp16 =
    "--fp16 --initial-loss-scale 4096 --loss-scale-window 2 --hysteresis 2 --train-iters 8 --lr-warmup-iters 0 "
    "--lr-decay-style linear";

struct Trace {
  std::vector<double> losses, scales, lrs, norms;
  std::vector<int> skipped;
  LogicalTensors main;
};

bool same(const LogicalTensors& a, const LogicalTensors& b) {
  return std::ranges::all_of(a, [&](const auto& entry) { return at::equal(entry.second, b.at(entry.first)); });
}

// This rank's part of weights, main weights and moments, copied.
std::vector<at::Tensor> own_bits(ToyTraining& run) {
  std::vector<at::Tensor> out;
  await_values(run.state().store.all());
  for (const Parameter* parameter : run.state().store.all()) out.push_back(parameter->value.detach().clone());
  for (const OptimizerState& s : run.state().optimizer.states()) {
    for (const at::Tensor& tensor : {s.main(), s.exp_avg, s.exp_avg_sq}) out.push_back(tensor.clone());
  }
  return out;
}

bool same(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  return std::ranges::equal(a, b, [](const at::Tensor& x, const at::Tensor& y) { return at::equal(x, y); });
}

Trace train(ToyTraining& run, std::int64_t last = kLength) {
  Trace trace;
  const auto loader = run.loader();
  while (run.state().progress.iteration < last) {
    const std::vector<at::Tensor> before = own_bits(run);
    const StepResult result = run.parts().step().run(*loader);
    const bool skipped = result.skipped.item<float>() != 0;
    EXPECT_EQ(same(before, own_bits(run)), skipped) << "iteration " << run.state().progress.iteration;
    trace.losses.push_back(result.loss.item<double>());
    trace.scales.push_back(result.loss_scale.item<double>());
    trace.lrs.push_back(run.state().schedule.lr());
    trace.skipped.push_back(skipped ? 1 : 0);
    if (!skipped) trace.norms.push_back(result.grad_norm.item<double>());
  }
  trace.main = run.main_weights();
  return trace;
}

// The root of the mean square of all elements' differences.
double distance(const LogicalTensors& a, const LogicalTensors& b) {
  double sum = 0, count = 0;
  for (const auto& [name, tensor] : a) {
    sum += (tensor.to(at::kDouble) - b.at(name).to(at::kDouble)).square().sum().item<double>();
    count += static_cast<double>(tensor.numel());
  }
  return std::sqrt(sum / count);
}

// Of weights that go 5 steps of 0.01 at most. AdamW's first steps are as long for gradients that are nothing but
// rounding, of which another layout makes others.
constexpr double kRoundedSteps = 1.5e-3;

DIST_TEST(LossScale, AllLayoutsLeaveOutTheSameSteps, 4) {
  const SharedFolder folder(ranks);
  int number = 0;
  for (const char* model : {kLlamaLike, kGptLike}) {
    const std::string flags = fmt::format("{} {} --hidden-dropout 0 --attention-dropout 0", model, kFp16);
    const auto config = [&](const Layout& layout) { return toy_config(layout, folder.corpus(), flags); };
    ToyTraining alone(config({1, 1, 1, false, 4}));
    overflow_at(alone, kOverflows);
    const Trace expected = train(alone);
    EXPECT_THAT(expected.skipped, ElementsAre(0, 1, 1, 0, 0, 1, 0, 0));
    // The second overflow halves; two good steps double, and the next overflow is borne.
    EXPECT_THAT(expected.scales, ElementsAre(4096, 4096, 2048, 2048, 4096, 4096, 4096, 8192));
    // The schedule stands still with the weights.
    EXPECT_EQ(expected.lrs[0], expected.lrs[2]);
    EXPECT_LT(expected.lrs[3], expected.lrs[2]);
    EXPECT_EQ(alone.state().optimizer.step_count() - alone.state().optimizer.skipped_count(), 5);

    const Layout tensor_and_context{2, 2, 1, true, 4};
    const Layout two_stages{1, 1, 2, false, 2, /*distributed_optimizer=*/true, /*pp=*/2};
    const Layout replicas{1, 2, 2, false, 2}, tensor_stages{2, 1, 1, true, 2, false, /*pp=*/2};
    const bool is_llama = model == kLlamaLike;
    for (const Layout& layout : {is_llama ? tensor_and_context : tensor_stages, is_llama ? two_stages : replicas}) {
      SCOPED_TRACE(layout.text());
      ToyTraining run(ranks, number++, config(layout));
      overflow_at(run, kOverflows);
      const Trace got = train(run);
      EXPECT_EQ(got.skipped, expected.skipped);
      EXPECT_EQ(got.scales, expected.scales);
      EXPECT_EQ(got.lrs, expected.lrs);
      for (std::size_t i = 0; i < got.losses.size(); ++i) EXPECT_NEAR(got.losses[i], expected.losses[i], 1e-2) << i;
      for (std::size_t i = 0; i < got.norms.size(); ++i) EXPECT_NEAR(got.norms[i] / expected.norms[i], 1.0, 1e-2) << i;
      EXPECT_LT(distance(got.main, expected.main), kRoundedSteps);
      run.job().world().barrier();
    }
    if (!is_llama) continue;
    // Not so where one of the steps is made.
    ToyTraining run(ranks, number++, config(tensor_and_context));
    overflow_at(run, {2, 3});
    const Trace other = train(run);
    EXPECT_NE(other.skipped, expected.skipped);
    EXPECT_GT(distance(other.main, expected.main), kRoundedSteps);
    run.job().world().barrier();
  }
}

// From 2^32 down, without anything done to it.
DIST_TEST(LossScale, TheDefaultComesDownByItself, 1, 4) {
  const SharedFolder folder(ranks);
  const Layout layout = ranks.size() == 1 ? Layout{1, 1, 1, false, 4} : Layout{2, 2, 1, true, 4};
  ToyTraining run(ranks, 0,
                  toy_config(layout, folder.corpus(), fmt::format("{} --fp16 --train-iters 24 --lr 1e-3", kLlamaLike)));
  const Trace trace = train(run, 24);
  const auto made = static_cast<std::int64_t>(trace.norms.size());
  EXPECT_GT(made, 4);
  EXPECT_GT(24 - made, 8);
  // Each overflow but the first has halved.
  EXPECT_EQ(trace.scales.back(), std::ldexp(4294967296.0, static_cast<int>(-(24 - made - 1))));
  EXPECT_LT(trace.losses.back(), trace.losses.front());
  EXPECT_EQ(run.state().schedule.samples(), made * kGlobalBatch);
  EXPECT_EQ(run.state().progress.consumed_train_samples, 24 * kGlobalBatch);
}

// A scale that overflows nothing changes no result but by rounding: the losses are those of bf16 and fp32.
DIST_TEST(LossScale, LossesAreThoseOfOtherTypes, 1) {
  const SharedFolder folder(ranks);
  const auto losses = [&](const std::string& flags) {
    ToyTraining run(toy_config({1, 1, 1, false, 4}, folder.corpus(),
                               fmt::format("{} {} --train-iters 20 --lr 1e-3", kLlamaLike, flags)));
    std::vector<double> out;
    const auto loader = run.loader();
    for (int i = 0; i < 20; ++i) out.push_back(run.parts().step().run(*loader).loss.item<double>());
    return out;
  };
  const auto worst = [](const std::vector<double>& a, const std::vector<double>& b) {
    double most = 0;
    for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] / b[i] - 1.0));
    return most;
  };
  const std::vector<double> fp64 = losses(""), fp16 = losses("--fp16 --initial-loss-scale 4096"),
                            constant = losses("--fp16 --loss-scale 1000"), bf16 = losses("--bf16");
  EXPECT_LT(worst(fp16, fp64), 1e-3);
  EXPECT_LT(worst(constant, fp64), 1e-3);
  EXPECT_LT(worst(bf16, fp64), 1e-2);
  EXPECT_LT(worst(fp16, fp64), worst(bf16, fp64)) << "three more bits";
  // A scale at which gradients are lost is another run.
  EXPECT_GT(worst(losses("--fp16 --loss-scale 1e-6"), fp64), 5e-3);
}

// What a run goes on from, in the same layout and type.
struct Kept {
  LogicalTensors weights, main, first, second;
  LossScaleState scale;
  std::int64_t steps, skipped;
  double lr;
};

Kept kept(ToyTraining& run) {
  const TrainingState& state = run.state();
  return {run.weights(),
          run.main_weights(),
          run.first_moments(),
          run.second_moments(),
          state.loss_scale ? state.loss_scale->state() : LossScaleState{},
          state.optimizer.step_count(),
          state.optimizer.skipped_count(),
          state.schedule.lr()};
}

void expect_same(const Kept& a, const Kept& b) {
  EXPECT_TRUE(same(a.weights, b.weights) && same(a.main, b.main) && same(a.first, b.first) && same(a.second, b.second));
  EXPECT_EQ(a.scale, b.scale);
  EXPECT_EQ(a.steps, b.steps);
  EXPECT_EQ(a.skipped, b.skipped);
  EXPECT_EQ(a.lr, b.lr);
}

// Saved between the two overflows, of which the first is borne.
DIST_TEST(LossScale, GoesOnAfterALoadWhereItWas, 1, 4) {
  const SharedFolder folder(ranks);
  const std::string checkpoints = folder / "checkpoints", flags = fmt::format("{} {}", kLlamaLike, kFp16);
  const Layout layout = ranks.size() == 1 ? Layout{1, 1, 1, false, 4} : Layout{1, 2, 2, false, 2, true};
  const auto config = [&](const Layout& of, const std::string& more) {
    return toy_config(of, folder.corpus(), flags + " " + more);
  };
  const std::string load = fmt::format("--load {}", checkpoints);
  Kept saved;
  Trace late;
  {
    ToyTraining run(ranks, 0, config(layout, fmt::format("--save {} --save-interval 2", checkpoints)));
    overflow_at(run, kOverflows);
    train(run, 2);
    CheckpointSaver(run.job()).save(run.state());
    saved = kept(run);
    EXPECT_EQ(saved.skipped, 1);
    EXPECT_EQ(saved.scale, (LossScaleState{4096, 0, 1}));
    late = train(run);
    run.job().world().barrier();
  }
  const UnwrittenIsNan nan;
  const auto resume = [&](int number, const Layout& of) {
    auto run =
        std::make_unique<ToyTraining>(ranks, number, config(of, load), make_cp_attention, InitialValues::deferred);
    EXPECT_TRUE(load_checkpoint(run->job(), run->state()));
    overflow_at(*run, kOverflows);
    return run;
  };
  {
    const auto run = resume(1, layout);
    expect_same(saved, kept(*run));
    const Trace got = train(*run);
    EXPECT_EQ(got.losses, late.losses);
    EXPECT_EQ(got.scales, late.scales);
    EXPECT_EQ(got.lrs, late.lrs);
    EXPECT_TRUE(same(got.main, late.main));
    run->job().world().barrier();
  }
  {  // not so where the count of overflows is forgotten
    const auto run = resume(2, layout);
    run->state().loss_scale->set_state({4096, 0, 2});
    EXPECT_NE(train(*run).scales, late.scales);
    run->job().world().barrier();
  }
  if (ranks.size() == 4) {
    const auto run = resume(3, {2, 1, 1, true, 4, false, /*pp=*/2});
    expect_same(saved, kept(*run));
    run->job().world().barrier();
  }
}

// Main weights and moments come over whole; the scale begins anew.
DIST_TEST(LossScale, CheckpointsGoFromBf16ToFp16AndBack, 2) {
  const SharedFolder folder(ranks);
  int number = 0;
  for (const bool to_fp16 : {true, false}) {
    const std::string checkpoints = folder / fmt::format("checkpoints{}", number);
    const std::string bf16 = fmt::format("{} --bf16", kLlamaLike), fp16 = fmt::format("{} --fp16", kLlamaLike);
    Kept saved;
    {
      ToyTraining run(ranks, number++,
                      toy_config({1, 1, 2, false, 4, true}, folder.corpus(),
                                 fmt::format("{} --initial-loss-scale 1024 --save {} --save-interval 2",
                                             to_fp16 ? bf16 : fp16, checkpoints)));
      const auto loader = run.loader();
      for (int i = 0; i < 2; ++i) run.parts().step().run(*loader);
      CheckpointSaver(run.job()).save(run.state());
      saved = kept(run);
      run.job().world().barrier();
    }
    const UnwrittenIsNan nan;
    for (const char* more : {"", "--no-load-optim"}) {
      ToyTraining run(ranks, number++,
                      toy_config({2, 1, 1, true, 4}, folder.corpus(),
                                 fmt::format("{} --load {} {}", to_fp16 ? fp16 : bf16, checkpoints, more)),
                      make_cp_attention, InitialValues::deferred);
      ASSERT_TRUE(load_checkpoint(run.job(), run.state()));
      const Kept got = kept(run);
      const at::ScalarType type = to_fp16 ? at::kHalf : at::kBFloat16;
      for (const auto& [name, main] : saved.main) {
        const at::Tensor& weight = got.weights.at(name);
        EXPECT_EQ(weight.scalar_type(), type);
        EXPECT_LT((weight.to(at::kFloat) - main).abs().max().item<double>(), to_fp16 ? 1e-3 : 8e-3) << name;
        EXPECT_EQ(at::equal(got.main.at(name), weight.to(at::kFloat)), *more != '\0') << name;
      }
      if (*more == '\0') {
        EXPECT_TRUE(same(saved.main, got.main) && same(saved.first, got.first) && same(saved.second, got.second));
        EXPECT_EQ(saved.steps, got.steps);
      }
      EXPECT_EQ(got.scale, to_fp16 ? (LossScaleState{4294967296.0, 0, 2}) : LossScaleState{});
      run.parts().step().run(*run.loader());
      run.job().world().barrier();
    }
  }
}

}  // namespace
}  // namespace ringtron::testing

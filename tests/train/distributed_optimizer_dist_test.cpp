// With the optimizer's state divided over the data and context axes five steps are those of one process, in any layout,
// fp64 and both dropouts on: losses, gradients, and the weights, which each rank then holds whole.
#include <gmock/gmock.h>

#include "ringtron/models/state_bytes.h"
#include "tests/train/layout_parity.h"

namespace ringtron::testing {
namespace {

constexpr const char* kSharded = "--use-distributed-optimizer --no-overlap-grad-reduce --no-overlap-param-gather";
// Many buckets, of which few begin or end where a parameter does; reduced during the backward.
constexpr const char* kOverlapped = "--use-distributed-optimizer --no-overlap-param-gather --ddp-bucket-size 3000";
// And gathered during the next forward.
constexpr const char* kBothOverlapped = "--use-distributed-optimizer --ddp-bucket-size 3000";

std::vector<Way> ways_of(int ranks) {
  if (ranks == 3) return {{{1, 3, 1, false, 4}, kSharded}, {{1, 3, 1, false, 4}, kBothOverlapped}};
  if (ranks == 8) {
    return {{{2, 2, 2, true, 2}, kOverlapped},
            {{2, 1, 4, false, 1}, kSharded},
            {{1, 4, 2, false, 2}, kBothOverlapped},
            {{1, 8, 1, false, 4}, kSharded}};
  }
  std::vector<Way> ways;
  for (const Layout& layout : layouts_of(ranks, 2))
    ways.push_back({layout, std::array{kSharded, kBothOverlapped, kOverlapped}[ways.size() % 3]});
  return ways;
}

DIST_TEST(DistributedOptimizer, LlamaLike, 1, 2, 3, 4, 8) {
  expect_parity_of_ways(ranks, {"llama-like", kLlamaLike}, ways_of(ranks.size()), 0);
}

DIST_TEST(DistributedOptimizer, TiedEmbeddingsBiasesAndLearnedPositions, 2, 4) {
  std::vector<Way> ways = {{{1, 1, 2, false, 4}, kOverlapped}, {{2, 1, 1, true, 4}, kSharded}};
  if (ranks.size() == 4)
    ways = {{{2, 1, 2, true, 2}, kSharded}, {{2, 2, 1, true, 4}, kBothOverlapped}, {{1, 1, 4, false, 1}, kOverlapped}};
  expect_parity_of_ways(ranks, {"gpt-like", kGptLike}, ways, 0);
}

DIST_TEST(DistributedOptimizer, Mamba, 4) {
  const std::string hybrid =
      "--hybrid-layer-pattern M*M- --mamba-num-heads 16 --mamba-head-dim 2 --mamba-num-groups 8 --mamba-state-dim 4 "
      "--num-layers 4 --normalization RMSNorm --swiglu --ffn-hidden-size 48 --position-embedding-type none "
      "--disable-bias-linear --untie-embeddings-and-output-weights";
  expect_parity_of_ways(
      ranks, {"hybrid", hybrid},
      {{{2, 2, 1, true, 4}, kSharded}, {{2, 1, 2, false, 2}, kBothOverlapped}, {{1, 2, 2, false, 2}, kSharded}}, 0);
}

struct Steps {
  std::vector<double> losses;
  std::vector<std::int64_t> zeros;
  LogicalTensors weights, main, first_moments;
  std::vector<at::Tensor> own_values;  // of this rank
};

Steps steps(ToyTraining& run) {
  Steps out;
  const auto loader = run.loader();
  for (int i = 0; i < kSteps; ++i) {
    const StepResult result = run.parts().step().run(*loader);
    out.losses.push_back(result.loss.item<double>());
    out.zeros.push_back(result.zeros.item<std::int64_t>());
  }
  out.weights = run.weights();
  out.main = run.main_weights();
  out.first_moments = run.first_moments();
  await_values(run.state().store.all());
  for (const Parameter* p : run.state().store.all()) out.own_values.push_back(p->value.detach().clone());
  run.job().world().barrier();
  return out;
}

// Of two ranks the sums have two summands, so without clipping, whose norm is summed in another order, even the bits
// are those of whole states.
DIST_TEST(DistributedOptimizer, TwoRanksMakeTheBitsOfWholeStates, 2) {
  const SharedFolder folder(ranks);
  int number = 0;
  for (const std::string type : {"--fp64", "--bf16"}) {
    for (const Layout& layout : {Layout{1, 1, 2, false, 2}, Layout{1, 2, 1, false, 4}}) {
      SCOPED_TRACE(type + ' ' + layout.text());
      const std::string flags = fmt::format("{} {} --clip-grad 0 --log-num-zeros-in-grad", kLlamaLike, type);
      ToyTraining whole(ranks, number++, toy_config(layout, folder.corpus(), flags));
      const Steps expected = steps(whole);
      const char* way = number % 4 == 1 ? kOverlapped : kBothOverlapped;
      ToyTraining sharded(ranks, number++, toy_config(layout, folder.corpus(), fmt::format("{} {}", flags, way)));
      const Steps got = steps(sharded);
      EXPECT_EQ(expected.losses, got.losses);
      EXPECT_EQ(expected.zeros, got.zeros);
      EXPECT_EQ(largest_difference(expected.weights, got.weights), 0.0);
      EXPECT_EQ(largest_difference(expected.main, got.main), 0.0);
      EXPECT_EQ(largest_difference(expected.first_moments, got.first_moments), 0.0);
      for (std::size_t i = 0; i < got.own_values.size(); ++i) {
        const at::Tensor& own = got.own_values[i];
        at::Tensor largest = own.to(at::kDouble), least = largest.clone();
        sharded.job().parallel().data_context().all_reduce(largest, ReduceOp::max).wait();
        sharded.job().parallel().data_context().all_reduce(least, ReduceOp::min).wait();
        EXPECT_TRUE(at::equal(largest, least)) << "replicas hold other values of parameter " << i;
      }
    }
  }
}

// Shards of rounded messages are parts of the whole rounded sum.
DIST_TEST(DistributedOptimizer, Bf16MessagesGiveWhatTheyGiveWholeStates, 2) {
  const SharedFolder folder(ranks);
  const std::string flags =
      fmt::format("{} --bf16 --clip-grad 0 --log-num-zeros-in-grad --grad-reduce-in-bf16", kLlamaLike);
  const auto run = [&](int number, const std::string& more) {
    ToyTraining training(ranks, number, toy_config({1, 1, 2, false, 2}, folder.corpus(), flags + more));
    return steps(training);
  };
  const Steps whole = run(0, ""), sharded = run(1, std::string(" ") + kOverlapped);
  EXPECT_EQ(whole.losses, sharded.losses);
  EXPECT_EQ(largest_difference(whole.main, sharded.main), 0.0);
}

// Negative control: a rank that does not send what it has updated is seen.
DIST_TEST(DistributedOptimizer, FailsWhenValuesAreNotGathered, 2) {
  const SharedFolder folder(ranks);
  const Trace expected = reference(folder, kLlamaLike);
  ToyTraining run(ranks, 0,
                  toy_config({1, 1, 2, false, 2}, folder.corpus(), fmt::format("{} {}", kLlamaLike, kSharded)));
  const auto loader = run.loader();
  TrainStep& step = run.parts().step();
  const auto apply = [&] {
    const TrainStep::Gradients gradients = step.compute_gradients(*loader);
    std::vector<at::Tensor> before;
    for (const Parameter* p : run.state().store.all()) before.push_back(p->value.detach().clone());
    step.apply(gradients);
    const at::NoGradGuard no_grad;
    // What the other rank owns goes back to what it was.
    std::size_t i = 0;
    std::map<const Parameter*, const OptimizerState*> owned;
    for (const OptimizerState& s : run.state().optimizer.states()) owned[s.parameter] = &s;
    for (Parameter* p : run.state().store.all()) {
      const at::Tensor now = p->value.detach().clone();
      p->value.detach().copy_(before[i++]);
      if (owned.contains(p)) owned[p]->part_of(p->value.detach()).copy_(owned[p]->part_of(now));
    }
    return gradients.loss.item<double>();
  };
  apply();
  const double second = apply(), third = apply();
  EXPECT_GT(std::abs(second / expected.losses[1] - 1.0) + std::abs(third / expected.losses[2] - 1.0), 1e-6);
  run.job().world().barrier();
}

// A rank keeps its share of moments and main weights, as many bytes as are told before the run.
DIST_TEST(DistributedOptimizer, EachRankKeepsItsShareOfTheState, 4) {
  const SharedFolder folder(ranks);
  int number = 0;
  for (const std::string& flags :
       {std::string("--bf16 ") + kSharded, std::string("--bf16 ") + kOverlapped, std::string("--fp16 ") + kSharded}) {
    const std::string line = fmt::format("{} {}", kLlamaLike, flags);
    ToyTraining run(ranks, number++, toy_config({1, 2, 2, false, 2}, folder.corpus(), line));
    const ParameterCount count = count_parameters(run.job().config(), 4);
    const StateBytes told = state_bytes(run.job().config(), count);
    const OptimizerState& any = run.state().optimizer.states().front();
    const auto bytes = [](const at::Tensor& x) { return static_cast<std::int64_t>(x.storage().nbytes()); };
    EXPECT_EQ(bytes(any.exp_avg) + bytes(any.exp_avg_sq), told.moments);
    EXPECT_EQ(bytes(any.lower.defined() ? any.lower : any.whole), told.main_weights);
    EXPECT_EQ(bytes(any.parameter->value), told.weights);
    EXPECT_EQ(bytes(any.parameter->gradient), told.gradients);
    EXPECT_LE(told.moments, 2 * 4 * (count.of_rank / 4 + 1024)) << "of a quarter, and padding";
    run.job().world().barrier();
  }
}

}  // namespace
}  // namespace ringtron::testing

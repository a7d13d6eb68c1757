// What the parity tests share: the steps of one process, the same steps in other layouts, and the comparison.
//
// RINGTRON_TEST_VERBOSE=1 shows the table, lines that begin with "| ": model, ranks, TP, SP, CP, DP,
// micro-batch, largest relative difference of a loss, of a gradient.
#pragma once

#include <cmath>
#include <limits>

#include "ringtron/base/log.h"
#include "tests/train/toy_training.h"

namespace ringtron::testing {

inline constexpr double kTolerance = 1e-10;

struct Trace {
  std::vector<double> losses;
  std::vector<LogicalTensors> gradients;
};

inline Trace train(ToyTraining& run, DataLoader& loader) {
  TrainStep& step = run.parts().step();
  Trace out;
  for (int i = 0; i < kSteps; ++i) {
    const TrainStep::Gradients gradients = step.compute_gradients(loader);
    out.losses.push_back(gradients.loss.item<double>());
    out.gradients.push_back(run.gradients(gradients.scale));
    step.apply(gradients);
  }
  return out;
}

inline Trace train(ToyTraining& run) { return train(run, *run.loader()); }

struct Difference {
  double loss = 0.0, gradient = 0.0;
};

inline double largest_element(const at::Tensor& tensor) { return tensor.abs().max().item<double>(); }

// A gradient that is zero but for rounding has no meaningful relative error: it counts relative to the
// largest gradient element of the whole model instead. So it is for the bias of the keys' norm without rotary
// positions: the same vector added to all keys moves all scores of a query alike, which softmax does not see.
inline constexpr double kRoundingOnly = 1e-12;

inline std::vector<std::string> rounding_only(const LogicalTensors& gradients) {
  double whole = 0.0;
  for (const auto& [name, tensor] : gradients) whole = std::max(whole, largest_element(tensor));
  std::vector<std::string> out;
  for (const auto& [name, tensor] : gradients) {
    if (largest_element(tensor) < kRoundingOnly * whole) out.push_back(name);
  }
  return out;
}

// The largest difference of any element, relative to the largest element of its tensor. Infinite when names,
// shapes or NaNs differ.
inline double largest_difference(const LogicalTensors& expected, const LogicalTensors& got) {
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  if (expected.size() != got.size()) return kInfinite;
  double whole = 0.0, worst = 0.0;
  for (const auto& [name, tensor] : expected) whole = std::max(whole, largest_element(tensor));
  for (const auto& [name, tensor] : expected) {
    const auto other = got.find(name);
    if (other == got.end() || other->second.sizes() != tensor.sizes()) return kInfinite;
    const double own = largest_element(tensor);
    const double relative = largest_element(tensor - other->second) / (own < kRoundingOnly * whole ? whole : own);
    if (std::isnan(relative)) return kInfinite;
    worst = std::max(worst, relative);
  }
  return worst;
}

inline Difference compare(const Trace& expected, const Trace& got) {
  Difference out;
  for (int i = 0; i < kSteps; ++i) {
    out.loss = std::max(out.loss, std::abs(expected.losses[i] - got.losses[i]) / std::abs(expected.losses[i]));
    out.gradient = std::max(out.gradient, largest_difference(expected.gradients[i], got.gradients[i]));
  }
  return out;
}

// The largest of all ranks' differences.
inline Difference over_ranks(Communicator& world, const Difference& own) {
  at::Tensor both = at::tensor({own.loss, own.gradient}, at::kDouble);
  world.all_reduce(both, ReduceOp::max).wait();
  return {both[0].item<double>(), both[1].item<double>()};
}

// Every TP, CP and DP with this product; TP with and without sequence parallelism. A step of each rank is cut
// into `micro_batches` where it has so many samples.
inline std::vector<Layout> layouts_of(int ranks, int micro_batches) {
  std::vector<Layout> out;
  for (int tp = 1; tp <= ranks; tp *= 2) {
    for (int cp = 1; tp * cp <= ranks; cp *= 2) {
      const int dp = ranks / (tp * cp);
      const int micro_batch = std::max(1, kGlobalBatch / dp / micro_batches);
      out.push_back({tp, cp, dp, false, micro_batch});
      if (tp > 1) out.push_back({tp, cp, dp, true, micro_batch});
    }
  }
  return out;
}

struct Model {
  const char* name;
  std::string flags;
};

// One process, four micro-batches a step.
inline Trace reference(const SharedFolder& folder, const std::string& flags) {
  ToyTraining run(toy_config({1, 1, 1, false, 2}, folder.corpus(), flags));
  return train(run);
}

// A layout, and flags that say how it works but must not change the result.
struct Way {
  Layout layout;
  std::string flags;
};

inline void expect_parity_of_ways(RankContext& ranks, const Model& model, const std::vector<Way>& ways,
                                  int first_number) {
  const SharedFolder folder(ranks);
  const Trace expected = reference(folder, model.flags);
  int number = first_number;
  for (const auto& [layout, flags] : ways) {
    ToyTraining run(ranks, number++, toy_config(layout, folder.corpus(), fmt::format("{} {}", model.flags, flags)));
    const Difference worst = over_ranks(run.job().world(), compare(expected, train(run)));
    EXPECT_LE(worst.loss, kTolerance) << model.name << ' ' << layout.text() << ' ' << flags;
    EXPECT_LE(worst.gradient, kTolerance) << model.name << ' ' << layout.text() << ' ' << flags;
    if (ranks.rank() == 0) {
      print_line("| {:10} | {} | {:2} | {} | {} | {} | {} | {:8.1e} | {:8.1e} | {}", model.name, layout.ranks(),
                 layout.tp, layout.sequence_parallel ? "on " : "off", layout.cp, layout.dp, layout.micro_batch,
                 worst.loss, worst.gradient, flags);
    }
    run.job().world().barrier();
  }
}

inline void expect_parity(RankContext& ranks, const Model& model, const std::vector<Layout>& layouts,
                          int first_number) {
  std::vector<Way> ways;
  for (const Layout& layout : layouts) ways.push_back({layout, ""});
  expect_parity_of_ways(ranks, model, ways, first_number);
}

}  // namespace ringtron::testing

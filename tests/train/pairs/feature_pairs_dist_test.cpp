// Every two features of training together: what the program's rules allow computes the losses of one process, and what
// they refuse is refused with a reason. In fp64 to 1e-10, in 16 bits to 1e-2.
//
// A pair is trained for three steps on as many ranks as both features want. One quarter of the pairs runs always, by
// their numbers, so that each feature meets every fourth other; DISABLED_ tests have the other quarters:
//
//   feature_pairs_dist_test --gtest_also_run_disabled_tests
//
// RINGTRON_TEST_VERBOSE=1 shows the table: both features, ranks, largest relative difference of a loss.
#include <gmock/gmock.h>

#include "tests/train/layout_parity.h"

namespace ringtron::testing {
namespace {

constexpr int kParts = 4, kTrained = 3;  // steps

// The smallest model that every feature divides.
constexpr const char* kBase =
    "--num-layers 4 --hidden-size 16 --num-attention-heads 4 --kv-channels 4 --ffn-hidden-size 16 --seq-length 16 "
    "--max-position-embeddings 16 --global-batch-size 4 --train-iters 3 --lr-warmup-iters 1 --normalization RMSNorm "
    "--swiglu --position-embedding-type rope --disable-bias-linear --hidden-dropout 0 --attention-dropout 0 "
    "--init-method-std 0.4";
constexpr const char* kTied = "tied embeddings";

// Whether one process is told of it too: then it is part of what is computed, not of how.
enum class Part { model, way };

struct Feature {
  const char* name;
  Part part;
  Layout layout;          // the least that it wants of each axis
  const char* transport;  // a word of --cp-comm-type, or nothing
  const char* flags;
};

Layout tensor(bool sequence_parallel) { return {2, 1, 1, sequence_parallel}; }
Layout context(int size) { return {1, size, 1}; }
Layout stages() { return {1, 1, 1, false, 1, false, /*pp=*/2}; }
Layout replicas() { return {1, 1, 2}; }

const std::vector<Feature>& features() {
  static const std::vector<Feature> all = {
      {"tensor parallel", Part::way, tensor(false), "", ""},
      {"sequence parallel", Part::way, tensor(true), "", ""},
      {"cp p2p", Part::way, context(2), "p2p", ""},
      {"cp a2a", Part::way, context(2), "a2a", ""},
      {"cp all_gather", Part::way, context(2), "all_gather", ""},
      {"cp a2a+p2p", Part::way, context(4), "a2a+p2p", "--hierarchical-context-parallel-sizes 2 2"},
      {"cp balanced", Part::way, context(2), "", "--cp-layout balanced"},
      {"1F1B", Part::way, stages(), "", "--pipeline-schedule 1F1B"},
      {"virtual stages", Part::way, stages(), "", "--num-layers-per-virtual-pipeline-stage 1"},
      {"zero-bubble", Part::way, stages(), "", "--pipeline-schedule zero-bubble"},
      {"data parallel", Part::way, replicas(), "", ""},
      {"distributed optimizer", Part::way, replicas(), "", "--use-distributed-optimizer --ddp-bucket-size 500"},
      {"recompute full",
       Part::way,
       {},
       "",
       "--recompute-granularity full --recompute-method uniform --recompute-num-layers 1"},
      {"recompute selective", Part::way, {}, "", "--recompute-activations"},
      {"documents", Part::model, {}, "", "--reset-attention-mask --reset-position-ids"},
      {"sliding window", Part::model, {}, "", "--window-size 3,0"},
      {"grouped queries", Part::model, {}, "", "--group-query-attention --num-query-groups 2"},
      {kTied, Part::model, {}, "", ""},
      {"dropout", Part::model, {}, "", "--hidden-dropout 0.1 --attention-dropout 0.1"},
      {"bf16", Part::model, {}, "", "--bf16"},
      {"fp16", Part::model, {}, "", "--fp16 --initial-loss-scale 4096"},
      {"Muon", Part::model, {}, "", "--optimizer muon --muon-extra-scale-factor 0.2"},
      {"Mamba",
       Part::model,
       {},
       "",
       "--hybrid-layer-pattern M*M- --mamba-num-heads 4 --mamba-head-dim 4 --mamba-num-groups 2 --mamba-state-dim 4 "
       "--position-embedding-type none"},
      {"batch ramp",
       Part::model,
       {},
       "",
       "--train-iters 0 --lr-warmup-iters 0 --train-samples 8 --lr-warmup-samples 2 --rampup-batch-size 2 2 3"},
      {"evaluation",
       Part::model,
       {},
       "",
       "--eval-iters 1 --eval-interval 1 --eval-micro-batch-size 2 --eval-global-batch-size 4"},
  };
  return all;
}

struct Pair {
  const Feature& first;
  const Feature& second;
  int part;  // of kParts

  std::string name() const { return fmt::format("{} x {}", first.name, second.name); }
  bool has(std::string_view feature) const { return first.name == feature || second.name == feature; }
  bool is_half() const { return has("bf16") || has("fp16"); }

  Layout layout() const {
    const Layout &a = first.layout, &b = second.layout;
    return {std::max(a.tp, b.tp),
            std::max(a.cp, b.cp),
            std::max(a.dp, b.dp),
            a.sequence_parallel || b.sequence_parallel,
            1,
            false,
            std::max(a.pp, b.pp)};
  }

  // Of one process, or of all ranks.
  std::string flags(bool with_ways) const {
    std::string out = kBase;
    if (!has(kTied)) out += " --untie-embeddings-and-output-weights";
    for (const Feature* one : {&first, &second})
      if (with_ways || one->part == Part::model) out += fmt::format(" {}", one->flags);
    if (with_ways) out += transports();
    return out;
  }

 private:
  // Two of them take turns, layer by layer.
  std::string transports() const {
    const std::string_view a = first.transport, b = second.transport;
    if (a.empty() && b.empty()) return "";
    if (a.empty() || b.empty()) return fmt::format(" --cp-comm-type {}{}", a, b);
    return fmt::format(" --cp-comm-type {0} {1} {0} {1}", a, b);
  }
};

std::vector<Pair> all_pairs() {
  std::vector<Pair> out;
  const int count = static_cast<int>(features().size());
  for (int i = 0; i < count; ++i)
    for (int j = i + 1; j < count; ++j)
      out.push_back(
          {features()[static_cast<std::size_t>(i)], features()[static_cast<std::size_t>(j)], (i + j) % kParts});
  return out;
}

// Two words for one flag are no pair.
bool are_alternatives(const Pair& pair) { return pair.has("1F1B") && pair.has("zero-bubble"); }

// Why the program does not want it; empty: it is allowed.
std::string refusal(const Pair& pair) {
  try {
    toy_config(pair.layout(), "corpus", pair.flags(/*with_ways=*/true));
    return "";
  } catch (const ConfigError& error) {
    return error.what();
  }
}

std::vector<double> losses_of(ToyTraining& run, bool evaluates) {
  TrainStep& step = run.parts().step();
  const auto loader = run.loader();
  std::vector<double> losses;
  for (int i = 0; i < kTrained; ++i) {
    losses.push_back(step.run(*loader).loss.item<double>());
    if (evaluates) losses.push_back(step.evaluate(*run.data().loader(Split::valid, 0), 1));
  }
  return losses;
}

// Rank 0's one process, known to all ranks.
class References {
 public:
  References(RankContext& ranks, const SharedFolder& folder) : ranks_(ranks), folder_(folder) {}

  const std::vector<double>& of(const Pair& pair) {
    const std::string flags = pair.flags(/*with_ways=*/false);
    const auto known = losses_.find(flags);
    if (known != losses_.end()) return known->second;
    const bool evaluates = pair.has("evaluation");
    at::Tensor all = at::zeros({evaluates ? 2 * kTrained : kTrained}, at::kDouble);
    if (ranks_.rank() == 0) {
      ToyTraining run(toy_config({}, folder_.corpus(), flags));
      all = at::tensor(losses_of(run, evaluates), at::kDouble);
    }
    ranks_.world().broadcast(all, 0).wait();
    const double* const data = all.const_data_ptr<double>();
    return losses_[flags] = {data, data + all.numel()};
  }

 private:
  RankContext& ranks_;
  const SharedFolder& folder_;
  std::map<std::string, std::vector<double>> losses_;
};

double largest_difference(const std::vector<double>& expected, const std::vector<double>& got) {
  double worst = expected.size() == got.size() ? 0.0 : std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < std::min(expected.size(), got.size()); ++i) {
    const double difference = std::abs(expected[i] - got[i]) / std::abs(expected[i]);
    worst = std::isnan(difference) ? std::numeric_limits<double>::infinity() : std::max(worst, difference);
  }
  return worst;
}

void expect_parity_of_pairs(RankContext& ranks, int part) {
  const SharedFolder folder(ranks);
  References references(ranks, folder);
  int number = 0;
  for (const Pair& pair : all_pairs()) {
    const Layout layout = pair.layout();
    if (pair.part != part || layout.ranks() != ranks.size() || are_alternatives(pair) || !refusal(pair).empty())
      continue;
    SCOPED_TRACE(pair.name());
    const std::vector<double>& expected = references.of(pair);
    ToyTraining run(ranks, number++, toy_config(layout, folder.corpus(), pair.flags(/*with_ways=*/true)));
    const double difference = largest_difference(expected, losses_of(run, pair.has("evaluation")));
    EXPECT_LE(difference, pair.is_half() ? 1e-2 : kTolerance);
    if (ranks.rank() == 0) print_line("| {:44} | {} | {:8.1e}", pair.name(), layout.ranks(), difference);
    run.job().world().barrier();
  }
  EXPECT_GT(number, 0);
}

DIST_TEST(FeaturePairs, Part0, 1, 2, 4, 8) { expect_parity_of_pairs(ranks, 0); }
DIST_TEST(DISABLED_FeaturePairs, Part1, 1, 2, 4, 8) { expect_parity_of_pairs(ranks, 1); }
DIST_TEST(DISABLED_FeaturePairs, Part2, 1, 2, 4, 8) { expect_parity_of_pairs(ranks, 2); }
DIST_TEST(DISABLED_FeaturePairs, Part3, 1, 2, 4, 8) { expect_parity_of_pairs(ranks, 3); }

// A new feature or rule changes these numbers, and whoever adds it says which pairs it concerns.
DIST_TEST(FeaturePairs, AllowedAndRefused, 1) {
  int allowed = 0, refused = 0, alternatives = 0;
  for (const Pair& pair : all_pairs()) {
    const std::string why = refusal(pair);
    if (are_alternatives(pair)) {
      ++alternatives;
    } else if (why.empty()) {
      ++allowed;
    } else {
      ++refused;
      print_line("| {} is refused: {}", pair.name(), why);
      // A flag, what was expected of it and what came.
      EXPECT_THAT(why, ::testing::AllOf(::testing::HasSubstr("--"), ::testing::HasSubstr("expected"),
                                        ::testing::HasSubstr("got")))
          << pair.name();
    }
  }
  print_line("| {} features, {} pairs allowed, {} refused, {} alternatives", features().size(), allowed, refused,
             alternatives);
  EXPECT_EQ(allowed, 295);
  EXPECT_EQ(refused, 4);
  EXPECT_EQ(alternatives, 1);
}

// A feature of the model that changed no loss would prove nothing in any pair.
DIST_TEST(FeaturePairs, EachModelHasLossesOfItsOwn, 1) {
  const SharedFolder folder(ranks);
  References references(ranks, folder);
  const Feature none{"none", Part::model, {}, "", ""};
  const std::vector<double> plain = references.of({none, none, 0});
  for (const Feature& feature : features()) {
    if (feature.part == Part::way) continue;
    EXPECT_GT(largest_difference(plain, references.of({feature, none, 0})), 1e-6) << feature.name;
  }
}

// Negative control: one layer whose attention is wrong is seen.
DIST_TEST(FeaturePairs, SeesAFault, 4) {
  const SharedFolder folder(ranks);
  References references(ranks, folder);
  const Pair pair{features()[0], features()[2], 0};
  ToyTraining run(ranks, 0, toy_config(pair.layout(), folder.corpus(), pair.flags(/*with_ways=*/true)),
                  faulty(CpFault::swap_chunks, /*layer=*/1));
  const auto loader = run.loader();
  std::vector<double> losses;
  for (int i = 0; i < kTrained; ++i) {
    const TrainStep::Gradients gradients = run.parts().step().compute_gradients(*loader);
    losses.push_back(gradients.loss.item<double>());
    run.parts().step().apply(gradients);
  }
  EXPECT_GT(largest_difference(references.of(pair), losses), 1e-8);
}

}  // namespace
}  // namespace ringtron::testing

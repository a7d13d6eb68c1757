// The loss of an evaluation is that of one process, in every layout, with whatever batches.
#include "tests/train/toy_training.h"

namespace ringtron::testing {
namespace {

constexpr double kTolerance = 1e-12;
constexpr std::int64_t kBatches = 3;

double evaluate(ToyTraining& run) { return run.parts().step().evaluate(*run.loader(), kBatches); }

double in_one_process(const SharedFolder& folder, const std::string& flags) {
  ToyTraining run(toy_config({}, folder.corpus(), flags));
  return evaluate(run);
}

DIST_TEST(Evaluation, EqualsOneProcess, 2, 4) {
  const SharedFolder folder(ranks);
  const std::string flags = fmt::format("{} --reset-attention-mask", kLlamaLike);
  const double expected = in_one_process(folder, flags);
  const std::vector<Layout> layouts =
      ranks.size() == 2 ? std::vector<Layout>{{1, 2, 1, false, 2}, {2, 1, 1, true, 1}, {1, 1, 2, false, 4}}
                        : std::vector<Layout>{{1, 4, 1, false, 2}, {2, 2, 1, true, 4}, {1, 2, 2, false, 1}};
  int number = 0;
  for (const Layout& layout : layouts) {
    ToyTraining run(ranks, number++, toy_config(layout, folder.corpus(), flags));
    EXPECT_NEAR(evaluate(run), expected, kTolerance * expected) << layout.text();
    run.job().world().barrier();
  }
}

// Two validation sets whose sizes no batch below divides: 49 and 21 samples.
struct Sets {
  explicit Sets(const SharedFolder& folder)
      : train(folder.corpus()), first(folder / "first"), second(folder / "second") {}
  // On one rank, before the others read.
  void write() const {
    write_part(first, 70);
    write_part(second, 25);
  }
  // In the place of the toy's --data-path.
  Config config(const Layout& layout, const std::string& more) const {
    Config config = toy_config(layout, train, fmt::format("{} {}", kGptLike, more));
    config.data.data_path.clear();
    config.data.split.clear();
    config.data.train_data_path = {train};
    config.data.valid_data_path = {first, second};
    config.evaluation.multiple_validation_sets = true;
    return config;
  }
  std::string train, first, second;

 private:
  static void write_part(const std::string& prefix, std::int64_t documents) {
    IndexedDatasetWriter writer(prefix, TokenType::u16);
    for (std::int64_t d = 0; d < documents; ++d) {
      std::vector<std::int32_t> tokens;
      for (std::int64_t p = 0; p < (d * 7919) % 40; ++p) {
        tokens.push_back(static_cast<std::int32_t>((d * 13 + p * (1 + d % 7)) % (kVocabulary - 1)));
      }
      tokens.push_back(kVocabulary - 1);
      writer.add_sequence(tokens);
      writer.end_document();
    }
    writer.finish();
  }
};

std::vector<double> evaluate_sets(ToyTraining& run, std::int64_t samples) {
  std::vector<double> losses;
  for (int set = 0; set < run.data().sets(Split::valid); ++set) {
    const auto loader = run.data().loader(Split::valid, 0, set);
    losses.push_back(run.parts()
                         .step()
                         .evaluate_unless([] { return std::int64_t{0}; }, *loader,
                                          samples > 0 ? samples : run.data().samples(Split::valid, set))
                         .loss);
  }
  return losses;
}

struct EvaluationLayout {
  Layout layout;
  int micro, global;  // of evaluation
};

std::vector<EvaluationLayout> evaluation_layouts(int ranks) {
  switch (ranks) {
    case 2:
      return {{{1, 2, 1, false, 2}, 4, 4},          {{2, 1, 1, true, 1}, 1, 8},
              {{1, 1, 2, false, 4}, 1, 6},          {{1, 1, 2, false, 1}, 4, 16},
              {{1, 1, 2, false, 1, true}, 2, 8},    {{1, 1, 1, false, 2, false, 2}, 1, 3},
              {{1, 1, 1, false, 2, false, 2}, 4, 4}};
    case 4:
      return {
          {{2, 2, 1, true, 2}, 4, 12},           {{1, 2, 2, false, 1}, 2, 8},           {{2, 1, 2, true, 1}, 4, 8},
          {{1, 2, 1, false, 2, false, 2}, 1, 5}, {{1, 1, 2, false, 2, true, 2}, 2, 12}, {{1, 1, 4, false, 1}, 1, 8}};
    default:
      return {{{2, 2, 1, true, 2, false, 2}, 4, 8}, {{1, 2, 2, false, 1, true, 2}, 1, 4}};
  }
}

// The truth: samples one by one in one process, where no batch is uneven.
DIST_TEST(Evaluation, WholeSetsEqualOneProcess, 2, 4, 8) {
  const SharedFolder folder(ranks);
  const Sets sets(folder);
  if (ranks.rank() == 0) sets.write();
  ranks.world().barrier();
  const std::string sizes = "--full-validation --eval-micro-batch-size {} --eval-global-batch-size {}";
  ToyTraining one(sets.config({}, "--full-validation --eval-micro-batch-size 1 --eval-global-batch-size 1"));
  ASSERT_EQ(one.data().sets(Split::valid), 2);
  const std::vector<double> expected = evaluate_sets(one, 0);
  EXPECT_GT(std::abs(expected[0] - expected[1]), 1e-4);
  int number = 0;
  for (const EvaluationLayout& way : evaluation_layouts(ranks.size())) {
    ToyTraining run(ranks, number++, sets.config(way.layout, fmt::format(fmt::runtime(sizes), way.micro, way.global)));
    const std::vector<double> losses = evaluate_sets(run, 0);
    for (std::size_t i = 0; i < losses.size(); ++i) {
      EXPECT_NEAR(losses[i], expected[i], kTolerance * expected[i]) << way.layout.text() << " set " << i;
    }
    run.job().world().barrier();
  }
}

// Negative control: where the last batch is filled with samples that count, the loss is another.
DIST_TEST(Evaluation, FillingSamplesDoNotCount, 1) {
  const SharedFolder folder(ranks);
  const Sets sets(folder);
  sets.write();
  ToyTraining run(sets.config({}, "--full-validation --eval-micro-batch-size 4 --eval-global-batch-size 8"));
  EXPECT_EQ(run.data().samples(Split::valid, 0) % 4, 1);
  EXPECT_EQ(run.data().samples(Split::valid, 1) % 4, 1);
  const std::vector<double> expected = evaluate_sets(run, 0);
  EXPECT_EQ(evaluate_sets(run, 1000), expected);  // what is read past the end changes nothing
  ToyTraining fills(sets.config({}, "--eval-iters 1 --eval-micro-batch-size 4 --eval-global-batch-size 52"));
  EXPECT_GT(std::abs(evaluate_sets(fills, 52)[0] - expected[0]), 1e-6);
}

// Of --eval-iters batches the sizes of evaluation alone decide what is read.
DIST_TEST(Evaluation, SizesOfItsOwn, 2) {
  const SharedFolder folder(ranks);
  const Sets sets(folder);
  if (ranks.rank() == 0) sets.write();
  ranks.world().barrier();
  const std::string flags = "--eval-iters 3 --eval-global-batch-size 4 --eval-micro-batch-size {}";
  ToyTraining one(sets.config({}, fmt::format(fmt::runtime(flags), 1)));
  const std::vector<double> expected = evaluate_sets(one, 12);
  int number = 0;
  for (const Layout& layout : {Layout{1, 1, 2, false, 4}, Layout{1, 2, 1, false, 8}}) {
    ToyTraining run(ranks, number++, sets.config(layout, fmt::format(fmt::runtime(flags), 2)));
    const std::vector<double> losses = evaluate_sets(run, 12);
    for (std::size_t i = 0; i < losses.size(); ++i) EXPECT_NEAR(losses[i], expected[i], kTolerance * expected[i]);
    run.job().world().barrier();
  }
}

// Negative control: the toy runs drop a tenth, and training sees it.
DIST_TEST(Evaluation, DropsNothing, 1) {
  const SharedFolder folder(ranks);
  const double expected = in_one_process(folder, kGptLike);
  EXPECT_EQ(in_one_process(folder, fmt::format("{} --hidden-dropout 0 --attention-dropout 0", kGptLike)), expected);
  ToyTraining run(toy_config({}, folder.corpus(), kGptLike));
  const auto loader = run.loader();
  double trained = 0;
  for (int i = 0; i < kBatches; ++i)
    trained += run.parts().step().compute_gradients(*loader).loss.item<double>() / kBatches;
  EXPECT_GT(std::abs(trained - expected), 1e-4);
}

}  // namespace
}  // namespace ringtron::testing

// The loss of an evaluation is that of one process, in every layout.
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

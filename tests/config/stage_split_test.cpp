// Layers into the stages of a pipeline, by each way of telling it.
#include "ringtron/config/pipeline/stage_split.h"

#include <gmock/gmock.h>

#include <functional>

namespace ringtron {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

StageSplit split(int layers, int ranks, const std::function<void(ParallelConfig&)>& change = [](ParallelConfig&) {}) {
  ParallelConfig parallel;
  parallel.pipeline_model_parallel_size = ranks;
  change(parallel);
  ModelConfig model;
  model.num_layers = layers;
  return split_into_stages(parallel, model);
}

std::vector<int> counts(const StageSplit& split) {
  EXPECT_THAT(split.fault, IsEmpty());
  std::vector<int> out;
  int first = 0;
  for (const StageRange& stage : split.stages) {
    EXPECT_EQ(stage.first, first);
    EXPECT_EQ(stage.embedding, out.empty());
    out.push_back(stage.count);
    first += stage.count;
    EXPECT_EQ(stage.output, out.size() == split.stages.size());
  }
  return out;
}

TEST(StageSplit, EvenAndOfOneRank) {
  EXPECT_THAT(counts(split(6, 1)), ElementsAre(6));
  EXPECT_THAT(counts(split(6, 3)), ElementsAre(2, 2, 2));
  EXPECT_THAT(split(7, 3).fault, HasSubstr("3 ranks divide, got 7"));
  EXPECT_THAT(split(3, 1 << 30).fault, HasSubstr("no more pipeline stages than 3 layers"));
}

// Megatron-LM's numbers: PP 4, 16 layers, 2 chunks: rank 0 has layers 1-2 and 9-10.
TEST(StageSplit, InterleavedRanksHaveEveryPpthStage) {
  const StageSplit stages = split(16, 4, [](ParallelConfig& p) { p.num_layers_per_virtual_pipeline_stage = 2; });
  EXPECT_THAT(counts(stages), ElementsAre(2, 2, 2, 2, 2, 2, 2, 2));
  EXPECT_THAT(stages_of_rank(stages.stages, 0, 4),
              ElementsAre(StageRange{0, 2, true, false}, StageRange{8, 2, false, false}));
  EXPECT_THAT(stages_of_rank(stages.stages, 3, 4),
              ElementsAre(StageRange{6, 2, false, false}, StageRange{14, 2, false, true}));
}

TEST(StageSplit, UnevenEnds) {
  EXPECT_THAT(counts(split(8, 4, [](ParallelConfig& p) { p.decoder_first_pipeline_num_layers = 2; })),
              ElementsAre(2, 2, 2, 2));
  EXPECT_THAT(counts(split(9, 4,
                           [](ParallelConfig& p) {
                             p.decoder_first_pipeline_num_layers = 2;
                             p.decoder_last_pipeline_num_layers = 1;
                           })),
              ElementsAre(2, 3, 3, 1));
  EXPECT_THAT(counts(split(3, 2, [](ParallelConfig& p) { p.decoder_last_pipeline_num_layers = 1; })),
              ElementsAre(2, 1));
  EXPECT_THAT(counts(split(14, 4,
                           [](ParallelConfig& p) {
                             p.account_for_embedding_in_pipeline_split = true;
                             p.account_for_loss_in_pipeline_split = true;
                           })),
              ElementsAre(3, 4, 4, 3));
}

TEST(StageSplit, Layout) {
  const auto layout = [](const char* text) {
    return [text](ParallelConfig& p) { p.pipeline_model_parallel_layout = text; };
  };
  EXPECT_THAT(counts(split(6, 2, layout("Et*2|t*4L"))), ElementsAre(2, 4));
  EXPECT_THAT(counts(split(6, 2, layout("E|(tt|)*2,ttL"))), ElementsAre(0, 2, 2, 2));
  EXPECT_THAT(counts(split(4, 2, layout("E|tt|tt|L"))), ElementsAre(0, 2, 2, 0));
  EXPECT_THAT(counts(split(6, 1, layout("Et*2|t*4L"))), ElementsAre(6)) << "one rank has all";
}

TEST(StageSplit, LayoutsThatCannotBe) {
  const auto fault = [](int layers, int ranks, const char* text) {
    return split(layers, ranks, [text](ParallelConfig& p) { p.pipeline_model_parallel_layout = text; }).fault;
  };
  EXPECT_THAT(fault(2, 2, "Et|tL"), IsEmpty());
  EXPECT_THAT(fault(3, 2, "E(t|)*3L"), IsEmpty());
  EXPECT_THAT(fault(2, 2, "Et|t|L"), HasSubstr("got 3 stages"));
  EXPECT_THAT(fault(3, 2, "Et|tL"), HasSubstr("got 2 layers, where the model has 3"));
  EXPECT_THAT(fault(2, 2, "t|tEL"), HasSubstr("no single E as the first letter"));
  EXPECT_THAT(fault(2, 2, "Et|t"), HasSubstr("no single L as the last letter"));
  EXPECT_THAT(fault(2, 2, "Et|tmL"), HasSubstr("multi-token prediction"));
  EXPECT_THAT(fault(2, 2, "Ex|tL"), HasSubstr("got 'x'"));
  EXPECT_THAT(fault(2, 2, "E(t|tL"), HasSubstr("a ( without its )"));
  EXPECT_THAT(fault(2, 2, "E((t|))*2L"), HasSubstr("a group within a group"));
  EXPECT_THAT(fault(2, 2, "E*0|tL"), HasSubstr("a * that repeats nothing"));
  EXPECT_THAT(fault(2, 2, "Et*9|tL"), HasSubstr("got 10 layers"));
  EXPECT_THAT(fault(2, 2, "E(tttttttttttttttttttttttttttttttttttttttttttt|)*99999L"), HasSubstr("million"));
  EXPECT_THAT(fault(2, 2, "Et*9999999999999999999|tL"), HasSubstr("million"));
}

}  // namespace
}  // namespace ringtron

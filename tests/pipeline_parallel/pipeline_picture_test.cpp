// The drawing of a schedule, and how long ranks wait in it.
#include "ringtron/pipeline_parallel/pipeline_picture.h"

#include <gmock/gmock.h>

namespace ringtron {
namespace {

using ::testing::ElementsAre;

PipelineTimes times_of(const PipelineShape& shape) {
  return pipeline_times([&](int rank) { return with_messages(training_schedule(shape, rank), shape, rank); }, shape);
}

PipelineShape zero_bubble_shape(int stages, int micro_batches) {
  return {stages, 1, micro_batches, /*group=*/0, PipelineScheduleKind::zero_bubble};
}

TEST(PipelinePicture, OfTwoStages) {
  const PipelineShape shape{2, 1, 3};
  EXPECT_THAT(draw(times_of(shape), shape), ElementsAre(" 0 1 . . [0] 2 [1] . [2]",  //
                                                        " . 0 [0] 1 [1] 2 [2] . ."));
}

// (stages - 1) / (micro-batches + stages - 1) with 1F1B, and by the number of chunks less.
TEST(PipelinePicture, WaitingIsTheKnownBubble) {
  EXPECT_DOUBLE_EQ(times_of({1, 1, 4}).waiting(), 0.0);
  for (const int stages : {2, 4, 8}) {
    for (const int micro_batches : {8, 16}) {
      EXPECT_NEAR(times_of({stages, 1, micro_batches}).waiting(), (stages - 1.0) / (micro_batches + stages - 1.0),
                  1e-12);
      for (const int chunks : {2, 4}) {
        EXPECT_NEAR(times_of({stages, chunks, micro_batches}).waiting(),
                    (stages - 1.0) / (micro_batches * chunks + stages - 1.0), 1e-12);
      }
    }
  }
}

// ZB-H1 (arXiv:2401.10241, table 2): each rank waits (stages - 1) times what a forward and the backward of inputs take
// more than the weight gradients; of 1F1B it is more by twice the latter.
TEST(PipelinePicture, ZeroBubbleWaitsAThird) {
  for (const int stages : {2, 3, 4, 8, 16}) {
    for (const int micro_batches : {stages, stages + 1, 2 * stages, 64}) {
      const PipelineTimes times = times_of(zero_bubble_shape(stages, micro_batches));
      EXPECT_EQ(times.end, 3 * micro_batches + stages - 1);
      EXPECT_EQ(times_of({stages, 1, micro_batches}).end, 3 * micro_batches + 3 * (stages - 1));
      EXPECT_NEAR(times.waiting(), (stages - 1.0) / (3 * micro_batches + stages - 1.0), 1e-12);
    }
  }
  // Fewer micro-batches do not fill the pipeline.
  EXPECT_LT(times_of(zero_bubble_shape(8, 3)).end, times_of({8, 1, 3}).end);
}

TEST(PipelinePicture, OfWeightGradients) {
  const PipelineShape shape = zero_bubble_shape(2, 3);
  EXPECT_THAT(draw(times_of(shape), shape), ElementsAre("   0   1   . [0] (0)   2 [1] (1) [2] (2)",  //
                                                        "   .   0 [0]   1 [1] (0)   2 [2] (1) (2)"));
}

TEST(PipelinePicture, OfChunks) {
  const PipelineShape shape{2, 2, 2};
  const std::vector<std::string> lines = draw(times_of(shape), shape);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0].size(), lines[1].size());
  EXPECT_EQ(lines[0].substr(0, 12), " 0a 1a 0b 1b");
}

}  // namespace
}  // namespace ringtron

// A pipeline computes what one process does: losses, gradients and, since each step begins with what the one before
// left, parameters; with each schedule, even and uneven stages, together with all other ways to share the work.
#include <gmock/gmock.h>

#include "tests/train/layout_parity.h"

namespace ringtron::testing {
namespace {

using ::testing::Lt;
using ::testing::Not;

constexpr const char* kFourLayers = "--num-layers 4";

Layout pipeline(int pp, int tp, int cp, int dp, int micro_batch = 1, bool sequence_parallel = false) {
  return {tp, cp, dp, sequence_parallel, micro_batch, /*distributed_optimizer=*/false, pp};
}

Model gpt() { return {"gpt-like", fmt::format("{} {}", kGptLike, kFourLayers)}; }
Model llama() { return {"llama-like", fmt::format("{} {}", kLlamaLike, kFourLayers)}; }

const char* const kInterleaved = "--num-layers-per-virtual-pipeline-stage 1";
const char* const kGpipe = "--pipeline-schedule GPipe";
const char* const kZeroBubble = "--pipeline-schedule zero-bubble";
const char* const kRecompute = "--recompute-granularity full --recompute-method uniform --recompute-num-layers 1";

// During the next forward, in many buckets.
const char* const kGathered = "--use-distributed-optimizer --ddp-bucket-size 500";

std::vector<Way> ways(int ranks) {
  switch (ranks) {
    case 2:
      return {{pipeline(2, 1, 1, 1), ""},
              {pipeline(2, 1, 1, 1), kInterleaved},
              {pipeline(2, 1, 1, 1, 8), ""},  // one micro-batch: nothing overlaps
              {pipeline(2, 1, 1, 1, 2), "--decoder-first-pipeline-num-layers 1"},
              {pipeline(2, 1, 1, 1, 2), "--pipeline-model-parallel-layout E|tt|tt|L"},
              {pipeline(2, 1, 1, 1, 1),
               "--num-virtual-stages-per-pipeline-rank 2 "
               "--microbatch-group-size-per-virtual-pipeline-stage 4"},
              {pipeline(2, 1, 1, 1), kRecompute},
              {pipeline(2, 1, 1, 1), kGpipe},
              {pipeline(2, 1, 1, 1), kZeroBubble},
              {pipeline(2, 1, 1, 1, 8), kZeroBubble},
              {pipeline(2, 1, 1, 1), fmt::format("{} {}", kZeroBubble, kRecompute)},
              {pipeline(2, 1, 1, 1), fmt::format("{} --recompute-activations", kZeroBubble)}};
    case 4:
      return {{pipeline(4, 1, 1, 1), ""},
              {pipeline(2, 2, 1, 1), ""},
              {pipeline(2, 2, 1, 1, 1, true), kInterleaved},
              {pipeline(2, 1, 2, 1), kInterleaved},
              {pipeline(2, 1, 1, 2), "--ddp-bucket-size 500"},
              {pipeline(2, 1, 1, 2), "--use-tp-pp-dp-mapping --decoder-last-pipeline-num-layers 1"},
              {pipeline(2, 1, 2, 1), "--use-distributed-optimizer"},
              {pipeline(2, 1, 1, 2), fmt::format("{} {}", kGathered, kInterleaved)},
              {pipeline(4, 1, 1, 1), kZeroBubble},
              {pipeline(2, 2, 1, 1), kZeroBubble},
              {pipeline(2, 2, 1, 1, 1, true), kZeroBubble},
              {pipeline(2, 1, 2, 1), fmt::format("{} {}", kZeroBubble, kRecompute)},
              {pipeline(2, 1, 1, 2), fmt::format("{} {}", kGathered, kZeroBubble)}};
    default:
      return {{pipeline(2, 2, 2, 1, 1, true), kInterleaved},
              {pipeline(2, 1, 2, 2), kRecompute},
              {pipeline(4, 2, 1, 1), ""},
              {pipeline(4, 1, 1, 2), "--use-distributed-optimizer"},
              {pipeline(2, 2, 2, 1, 1, true), fmt::format("{} {}", kZeroBubble, kRecompute)},
              {pipeline(2, 2, 1, 2), kGpipe},
              {pipeline(4, 2, 1, 1, 1, true), kZeroBubble}};
  }
}

DIST_TEST(PipelineParity, GptLike, 2, 4, 8) { expect_parity_of_ways(ranks, gpt(), ways(ranks.size()), 0); }
DIST_TEST(PipelineParity, LlamaLike, 2, 4, 8) { expect_parity_of_ways(ranks, llama(), ways(ranks.size()), 0); }

// A fault in one layer of the last stage is seen.
DIST_TEST(PipelineParity, NegativeControl, 2) {
  const SharedFolder folder(ranks);
  const Trace expected = reference(folder, llama().flags);
  ToyTraining run(ranks, 0, toy_config(pipeline(2, 1, 1, 1), folder.corpus(), llama().flags + " --seed 1235"));
  const Difference worst = over_ranks(run.job().world(), compare(expected, train(run)));
  EXPECT_THAT(worst.loss, Not(Lt(kTolerance)));
  EXPECT_THAT(worst.gradient, Not(Lt(kTolerance)));
}

DIST_TEST(PipelineParity, EvaluatesAsOneProcess, 2, 4) {
  const SharedFolder folder(ranks);
  const auto evaluated = [&](ToyTraining& run) { return run.parts().step().evaluate(*run.loader(), 2); };
  ToyTraining one(toy_config({1, 1, 1, false, 2}, folder.corpus(), gpt().flags));
  const double expected = evaluated(one);
  int number = 0;
  for (const char* flags : {"", kInterleaved, kZeroBubble}) {
    if (ranks.size() == 4 && flags == kInterleaved) continue;  // a layer each
    ToyTraining run(
        ranks, number++,
        toy_config(pipeline(ranks.size(), 1, 1, 1, 2), folder.corpus(), fmt::format("{} {}", gpt().flags, flags)));
    EXPECT_NEAR(evaluated(run), expected, kTolerance * expected) << flags;
    run.job().world().barrier();
  }
}

}  // namespace
}  // namespace ringtron::testing

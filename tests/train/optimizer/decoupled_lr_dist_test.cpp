// --decoupled-lr: word embedding and output layer learn at a rate of their own in any layout, also where a stage of a
// pipeline has only one of them, or a copy.
#include "tests/train/layout_parity.h"

namespace ringtron::testing {
namespace {

constexpr const char* kDecoupled = "--decoupled-lr 0.03 --decoupled-min-lr 0.002";
constexpr const char* kSharded = "--use-distributed-optimizer --ddp-bucket-size 3000";

std::vector<Way> ways_of(int ranks) {
  if (ranks == 2) {
    return {{{2, 1, 1, false, 4}, ""},
            {{1, 2, 1, false, 4}, kSharded},
            {{1, 1, 2, false, 2}, kSharded},
            {{1, 1, 1, false, 2, false, 2}, ""}};
  }
  return {{{2, 1, 1, true, 2, false, 2}, ""},
          {{1, 1, 2, false, 2, false, 2}, kSharded},
          {{1, 2, 1, false, 2, false, 2}, "--num-layers-per-virtual-pipeline-stage 1 --num-layers 4"},
          {{2, 1, 2, true, 2}, kSharded}};
}

void expect_parity_of(RankContext& ranks, const char* name, const std::string& flags, int first_number) {
  // Four layers: of two chunks on each of two stages the first and the last have an embedding or an output layer.
  expect_parity_of_ways(ranks, {name, fmt::format("{} --num-layers 4 {}", flags, kDecoupled)}, ways_of(ranks.size()),
                        first_number);
}

DIST_TEST(DecoupledLr, SameStepsInAnyLayout, 2, 4) {
  expect_parity_of(ranks, "untied", kLlamaLike, 0);
  expect_parity_of(ranks, "tied", kGptLike, 100);
}

// Negative control: a run with one rate for all is another.
DIST_TEST(DecoupledLr, IsSeen, 2) {
  const SharedFolder folder(ranks);
  for (const char* model : {kLlamaLike, kGptLike}) {
    const Trace expected = reference(folder, fmt::format("{} {}", model, kDecoupled));
    const Trace without = reference(folder, model);
    EXPECT_GT(compare(expected, without).loss, 1e-4);
    EXPECT_EQ(expected.losses[0], without.losses[0]);
  }
  ranks.world().barrier();
}

}  // namespace
}  // namespace ringtron::testing

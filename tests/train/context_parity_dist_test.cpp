// However attention reaches the other ranks' keys, however the sequence is divided, whatever the mask, the
// softmax and the length: in fp64 losses and all gradients of five steps are those of one process.
// layout_parity_dist_test.cpp has the division over the other axes.
#include "tests/train/layout_parity.h"

namespace ringtron::testing {
namespace {

const char* const kLayoutNames[] = {"zigzag", "contiguous", "balanced"};

// Every transport; each model begins with another division of the sequence, so that all pairs occur.
std::vector<Way> ways_of(int ranks, int model) {
  const auto layout = [&](int way) { return std::string(" --cp-layout ") + kLayoutNames[(model + way) % 3]; };
  if (ranks == 2) {
    return {{{1, 2, 1, false, 2}, "--cp-comm-type p2p" + layout(0)},
            {{1, 2, 1, false, 2}, "--cp-comm-type a2a allgather" + layout(1)}};
  }
  if (ranks == 3) {
    return {{{1, 3, 1, false, 4}, "--cp-comm-type p2p" + layout(0)},
            {{1, 3, 1, false, 4}, "--cp-comm-type a2a" + layout(1)}};  // 16 heads on 3 ranks
  }
  return {{{1, 4, 1, false, 4}, "--cp-comm-type p2p" + layout(0)},
          {{1, 4, 1, false, 4}, "--cp-comm-type all_gather" + layout(1)},
          {{1, 4, 1, false, 4}, "--cp-comm-type a2a" + layout(2)},
          {{1, 4, 1, false, 4}, "--cp-comm-type a2a+p2p --hierarchical-context-parallel-sizes 2 2" + layout(0)},
          {{2, 2, 1, true, 4}, "--cp-comm-type a2a p2p" + layout(2)},
          {{1, 2, 2, false, 2}, "--cp-comm-type all_gather p2p" + layout(2)}};
}

void expect_all_ways(RankContext& ranks, const char* name, int number, const std::string& flags) {
  expect_parity_of_ways(ranks, Model{name, fmt::format("{} {}", kLlamaLike, flags)}, ways_of(ranks.size(), number), 0);
}

DIST_TEST(ContextParity, Causal, 2, 3, 4) { expect_all_ways(ranks, "causal", 0, ""); }

DIST_TEST(ContextParity, Documents, 2, 3, 4) {
  expect_all_ways(ranks, "documents", 1, "--reset-attention-mask --reset-position-ids");
}

DIST_TEST(ContextParity, Window, 2, 4) {
  expect_all_ways(ranks, "window", 2, "--window-size 5,0 --softmax-type off-by-one");
}

DIST_TEST(ContextParity, DocumentsWindowAndLearnedSinks, 2, 4) {
  expect_all_ways(ranks, "sinks", 0, "--softmax-type learnable --reset-attention-mask --window-size 9 -1");
}

// Tables are made by position, so no division of the sequence can miss the scaling.
DIST_TEST(ContextParity, Yarn, 2, 4) {
  expect_all_ways(ranks, "yarn", 1,
                  "--position-embedding-type yarn --rotary-scaling-factor 4 --yarn-original-max-position-embeddings 8");
}

// No multiple of twice the ranks.
DIST_TEST(ContextParity, RaggedShards, 3, 4) {
  expect_all_ways(ranks, "ragged", 1, "--seq-length 26 --reset-attention-mask --reset-position-ids");
}

// Some ranks have nothing.
DIST_TEST(ContextParity, EmptyShards, 3, 4) {
  expect_all_ways(ranks, "empty", 2, "--seq-length 2 --softmax-type learnable");
}

// Biases, learned positions and LayerNorm too.
DIST_TEST(ContextParity, EmptyShardsGptLike, 4) {
  const std::vector<Way> ways = {{{1, 4, 1, false, 4}, "--cp-comm-type p2p a2a"},
                                 {{2, 2, 1, true, 4}, "--cp-comm-type all_gather"}};
  expect_parity_of_ways(ranks, Model{"empty gpt", fmt::format("{} --seq-length 2", kGptLike)}, ways, 0);
}

DIST_TEST(ContextParity, Auto, 2) {
  const std::vector<Way> ways = {{{1, 2, 1, false, 4}, "--cp-comm-type auto --deterministic-mode"},
                                 {{1, 2, 1, false, 4}, "--cp-comm-type p2p auto"}};
  expect_parity_of_ways(ranks, Model{"auto", kLlamaLike}, ways, 0);
}

// The models differ: one that ignored its flag would show.
DIST_TEST(ContextParity, EachFlagChangesTheLoss, 1) {
  const SharedFolder folder(ranks);
  const double plain = reference(folder, kLlamaLike).losses.back();
  for (const char* flags : {"--reset-attention-mask", "--reset-position-ids", "--window-size 5,0",
                            "--softmax-type off-by-one", "--softmax-type learnable",
                            "--position-embedding-type yarn --rotary-scaling-factor 4 "
                            "--yarn-original-max-position-embeddings 8"}) {
    EXPECT_GT(std::abs(reference(folder, fmt::format("{} {}", kLlamaLike, flags)).losses.back() - plain), 1e-6)
        << flags;
  }
}

// Negative control: each of attention's faults is seen, also in one layer only.
DIST_TEST(ContextParity, SeesFaults, 2) {
  const SharedFolder folder(ranks);
  const Trace expected = reference(folder, kLlamaLike);
  int number = 0;
  for (const CpFault fault :
       {CpFault::none, CpFault::swap_chunks, CpFault::drop_merge, CpFault::skip_exchange, CpFault::double_count}) {
    ToyTraining run(ranks, number++, toy_config({1, 2, 1, false, 4}, folder.corpus(), kLlamaLike), faulty(fault, 1));
    const Difference difference = over_ranks(run.job().world(), compare(expected, train(run)));
    if (fault == CpFault::none) {
      EXPECT_LE(difference.gradient, kTolerance);
    } else {
      EXPECT_GT(difference.loss, 1e-9) << static_cast<int>(fault);
      EXPECT_GT(difference.gradient, 1e-6) << static_cast<int>(fault);
    }
    run.job().world().barrier();
  }
}

}  // namespace
}  // namespace ringtron::testing

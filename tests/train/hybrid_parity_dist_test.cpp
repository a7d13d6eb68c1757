// Hybrid models of Mamba, attention and MLP layers in many layouts: in fp64 losses and all gradients of five steps are
// those of one process.
#include "tests/train/layout_parity.h"

namespace ringtron::testing {
namespace {

constexpr const char* kHybrid =
    "--hybrid-layer-pattern M*M- --mamba-num-heads 16 --mamba-head-dim 2 --mamba-num-groups 8 --mamba-state-dim 4 "
    "--num-layers 4 --normalization RMSNorm --swiglu --ffn-hidden-size 48 --position-embedding-type none "
    "--disable-bias-linear --untie-embeddings-and-output-weights";

// Either way of Mamba, and attention's transports.
const std::string kStates = "--cp-comm-type p2p", kHeads = "--cp-comm-type a2a",
                  kZeroBubble = " --pipeline-schedule zero-bubble";

Layout two_stages(int tp, int cp, int dp, int micro_batch) {
  return {tp, cp, dp, /*sequence_parallel=*/tp > 1, micro_batch, /*distributed_optimizer=*/false, /*pp=*/2};
}

std::vector<Way> ways_of(int ranks) {
  if (ranks == 1)
    return {{{1, 1, 1, false, 4}, ""},
            {{1, 1, 1, false, 2}, "--recompute-granularity full --recompute-method uniform --recompute-num-layers 1"}};
  if (ranks == 2) {
    return {{{2, 1, 1, false, 4}, ""},
            {{2, 1, 1, true, 4}, ""},
            {{1, 2, 1, false, 4}, kStates},
            {{1, 2, 1, false, 4}, kHeads + " --cp-layout contiguous"},
            {{1, 1, 2, false, 2}, ""},
            {two_stages(1, 1, 1, 2), kZeroBubble},
            {two_stages(1, 1, 1, 2),
             "--recompute-granularity full --recompute-method uniform --recompute-num-layers 1" + kZeroBubble}};
  }
  if (ranks == 3) return {{{1, 3, 1, false, 4}, kStates}, {{1, 3, 1, false, 4}, kHeads}};
  if (ranks == 4) {
    return {{{4, 1, 1, true, 4}, ""},
            {{2, 2, 1, false, 4}, kStates},
            {{2, 2, 1, true, 4}, kHeads},
            {{2, 1, 2, true, 2}, ""},
            {{1, 4, 1, false, 4}, kStates + " --cp-layout contiguous"},
            {{1, 4, 1, false, 4}, "--cp-comm-type p2p all_gather a2a p2p"},
            {{1, 4, 1, false, 4}, kStates + " --cp-layout balanced"},
            {{1, 2, 2, false, 2}, kHeads},
            {two_stages(2, 1, 1, 2), kZeroBubble},
            {two_stages(1, 2, 1, 2), kStates + kZeroBubble}};
  }
  return {{{2, 4, 1, true, 4}, kStates},
          {{2, 2, 2, true, 2}, kHeads},
          {{1, 8, 1, false, 4}, kStates},
          {{1, 8, 1, false, 4}, kHeads},
          {two_stages(2, 2, 1, 2), kHeads + kZeroBubble}};
}

DIST_TEST(HybridParity, OneDocument, 1, 2, 4, 8) {
  expect_parity_of_ways(ranks, Model{"hybrid", kHybrid}, ways_of(ranks.size()), 0);
}

DIST_TEST(HybridParity, Documents, 2, 3, 4) {
  expect_parity_of_ways(ranks,
                        Model{"documents", fmt::format("{} --reset-attention-mask --reset-position-ids", kHybrid)},
                        ways_of(ranks.size()), 0);
}

// No multiple of twice the ranks, and fewer positions than ranks.
DIST_TEST(HybridParity, AnyLength, 3) {
  expect_parity_of_ways(ranks, Model{"ragged", fmt::format("{} --seq-length 26", kHybrid)}, ways_of(3), 0);
  expect_parity_of_ways(ranks, Model{"short", fmt::format("{} --seq-length 2", kHybrid)}, ways_of(3), 10);
}

}  // namespace
}  // namespace ringtron::testing

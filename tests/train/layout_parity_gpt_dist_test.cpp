// The same as layout_parity_dist_test.cpp for a model like GPT-2: learned positions, LayerNorm, biases, GELU,
// tied embeddings, normalised queries and keys.
#include <gmock/gmock.h>

#include "tests/train/layout_parity.h"

namespace ringtron::testing {
namespace {

const Model kModel = {"gpt-like", kGptLike};

DIST_TEST(LayoutParity, GptLike, 1, 2, 4, 8) { expect_parity(ranks, kModel, layouts_of(ranks.size(), 1), 0); }

DIST_TEST(LayoutParity, GptLikeAnyMicroBatch, 1) {
  expect_parity(ranks, kModel, {{1, 1, 1, false, 1}, {1, 1, 1, false, 4}}, 0);
}

// Every gradient is compared by its own size but those that are zero by mathematics.
DIST_TEST(LayoutParity, OnlyTheBiasOfTheKeysNormHasNoGradient, 1) {
  const SharedFolder folder(ranks);
  for (const LogicalTensors& step : reference(folder, kModel.flags).gradients) {
    EXPECT_THAT(rounding_only(step), ::testing::ElementsAre("decoder.layers.0.self_attention.k_layernorm.bias",
                                                            "decoder.layers.1.self_attention.k_layernorm.bias"));
  }
}

}  // namespace
}  // namespace ringtron::testing

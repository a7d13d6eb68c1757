#include "ringtron/telemetry/flops.h"

#include <gtest/gtest.h>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

TEST(Flops, SmallModelCountedByHand) {
  const DenseGptSizes sizes{.layers = 2,
                            .hidden = 4,
                            .ffn_hidden = 8,
                            .query_projection = 4,
                            .key_value_projection = 2,
                            .padded_vocab = 10,
                            .swiglu = false};
  // 15 tokens x 6 x (2 layers x (64 + 48) + 40 weights), and 3 triangles of 15 cells x 2 layers x 12 x 4
  EXPECT_EQ(gpt_step_flops(sizes, 15, 45), 15 * 6 * (2 * (64 + 48) + 40) + 45 * 2 * 12 * 4);
  DenseGptSizes gated = sizes;
  gated.swiglu = true;
  EXPECT_EQ(gpt_step_flops(gated, 15, 45) - gpt_step_flops(sizes, 15, 45), 15 * 6 * 2 * 32);
}

TEST(Flops, RefuseAModelWhoseVocabularyIsNotKnownYet) {
  EXPECT_THROW(gpt_step_flops({.layers = 1, .hidden = 4, .ffn_hidden = 8, .query_projection = 4}, 1, 1), InternalError);
}

TEST(Flops, PerDevice) {
  EXPECT_DOUBLE_EQ(tflops_per_device(8e12, 2, 4), 1.0);
}

}  // namespace
}  // namespace ringtron

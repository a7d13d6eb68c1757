#include "ringtron/telemetry/flops.h"

#include <gtest/gtest.h>

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
  // 15 tokens x 6 x (2 layers x (64 + 48) + 40 weights) + 2 x 6 x 3 x 25 x 4
  EXPECT_EQ(gpt_step_flops(sizes, 3, 5), 15 * 6 * (2 * (64 + 48) + 40) + 3600);
  DenseGptSizes gated = sizes;
  gated.swiglu = true;
  EXPECT_EQ(gpt_step_flops(gated, 3, 5) - gpt_step_flops(sizes, 3, 5), 15 * 6 * 2 * 32);
}

TEST(Flops, PerDevice) {
  EXPECT_DOUBLE_EQ(tflops_per_device(8e12, 2, 4), 1.0);
}

}  // namespace
}  // namespace ringtron

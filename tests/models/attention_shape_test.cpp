// In which type gradients are said to travel: as attention itself decides it.
#include "ringtron/models/attention_shape.h"

#include <gtest/gtest.h>

namespace ringtron {
namespace {

// A resolved configuration whose blocks are computed in fp16 on a GPU.
Config half_config() {
  Config config;
  config.model.num_attention_heads = config.model.num_query_groups = 8;
  config.model.kv_channels = 64;
  config.model.seq_length = 65536;
  config.batch.micro_batch_size = 2;
  config.precision.bf16 = true;
  config.precision.attention_dropout = 0.0;
  return config;
}

std::int64_t gradient_bytes(Config config, bool gpu = true) { return attention_shape(config, gpu).gradient_bytes; }

TEST(AttentionShape, GradientsTravelInHalfWhereBlocksAreHalf) {
  EXPECT_EQ(gradient_bytes(half_config()), 2);
  EXPECT_EQ(gradient_bytes(half_config(), false), 4);
  Config config = half_config();
  config.parallel.cp_block_type = "bf16";
  EXPECT_EQ(gradient_bytes(config), 4);
  config = half_config();
  config.precision.attention_dropout = 0.1;
  EXPECT_EQ(gradient_bytes(config), 4);
  config = half_config();
  config.data.reset_attention_mask = true;
  EXPECT_EQ(gradient_bytes(config), 4);
  config = half_config();
  config.precision.bf16 = false;
  EXPECT_EQ(gradient_bytes(config), 4);
  config.precision.fp64 = true;
  EXPECT_EQ(gradient_bytes(config), 8);
}

TEST(AttentionShape, OnlyUpToTheLongestSequenceThatFp16Suits) {
  Config config = half_config();
  config.model.seq_length = kLongestInHalf + 1;
  EXPECT_EQ(gradient_bytes(config), 4);
}

// A window that reaches everywhere is none.
TEST(AttentionShape, AsTheMaskSays) {
  Config config = half_config();
  config.model.window_size = {128, 0};
  EXPECT_EQ(gradient_bytes(config), 4);
  config.model.window_size = {-1, 0};
  EXPECT_EQ(gradient_bytes(config), 2);
}

}  // namespace
}  // namespace ringtron

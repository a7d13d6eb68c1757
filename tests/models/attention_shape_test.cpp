// Heads and sizes of one tensor-parallel rank, as the configuration says them.
#include "ringtron/models/attention_shape.h"

#include <gtest/gtest.h>

namespace ringtron {
namespace {

AttentionShape shape_of(const Config& config) { return attention_shape(resolve(config, 2, 100).despite_faults()); }

TEST(AttentionShape, IsThatOfOneTensorParallelRank) {
  Config config;
  config.model.num_attention_heads = 8;
  config.model.group_query_attention = true;
  config.model.num_query_groups = 4;
  config.model.kv_channels = 64;
  config.batch.micro_batch_size = 2;
  config.precision.bf16 = true;
  config.parallel.tensor_model_parallel_size = 2;
  const AttentionShape shape = shape_of(config);
  EXPECT_EQ(shape.samples, 2);
  EXPECT_EQ(shape.heads, 4);
  EXPECT_EQ(shape.groups, 2);
  EXPECT_EQ(shape.key_size, 64);
  EXPECT_EQ(shape.value_size, 64);
  EXPECT_EQ(shape.element_bytes, 2);
  EXPECT_EQ(shape.sum_bytes, 4);
}

TEST(AttentionShape, SumsAreWide) {
  Config config;
  EXPECT_EQ(shape_of(config).element_bytes, 4);
  EXPECT_EQ(shape_of(config).sum_bytes, 4);
  config.precision.fp64 = true;
  EXPECT_EQ(shape_of(config).element_bytes, 8);
  EXPECT_EQ(shape_of(config).sum_bytes, 8);
}

}  // namespace
}  // namespace ringtron

// Counts and bytes of a small model, worked out by hand.
#include "ringtron/tools/check/step_cost.h"

#include <gmock/gmock.h>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

// One layer, h 8, 4 heads of 2, ffn 16, vocabulary 32, 16 positions: GPT-2-like.
Config small_model() {
  Config config;
  ModelConfig& m = config.model;
  m.num_layers = 1;
  m.hidden_size = 8;
  m.num_attention_heads = m.num_query_groups = 4;
  m.kv_channels = 2;
  m.ffn_hidden_size = 16;
  m.seq_length = m.max_position_embeddings = 16;
  m.padded_vocab_size = 32;
  m.add_qkv_bias = true;
  config.batch.micro_batch_size = 2;
  return config;
}

ResolvedConfig resolved(const Config& config) {
  return resolve(config, config.parallel.tensor_model_parallel_size, 32).despite_faults();
}

TEST(StepCost, MomentsByHand) {
  Config config = small_model();
  const ParameterCount adam = count_parameters(resolved(config), 1);
  EXPECT_EQ(adam.moments, 2 * adam.of_rank);
  EXPECT_EQ(adam.largest_matrix, 0);
  config.optimizer.optimizer = OptimizerType::sgd;
  EXPECT_EQ(count_parameters(resolved(config), 1).moments, adam.of_rank);
  config.optimizer.optimizer = OptimizerType::muon;
  const ParameterCount muon = count_parameters(resolved(config), 1);
  // Two embeddings, six vectors of norms and four biases have a second one, each in whole 64s.
  EXPECT_EQ(muon.moments, adam.of_rank + 32 * 8 + 16 * 8 + 6 * 64 + 4 * 64);
  EXPECT_EQ(muon.largest_matrix, 24 * 8);
}

SentBytes tensor_layer_bytes(const Config& given, std::int64_t rows) {
  const ResolvedConfig config = resolved(given);
  return tensor_module_bytes(config, costs_of(transformer_options(config), rank_sizes(config)), rows);
}

TEST(StepCost, ParametersByHand) {
  Config config = small_model();
  const std::int64_t embeddings = 32 * 8 + 16 * 8;
  const std::int64_t norms = 3 * 2 * 8;
  const std::int64_t attention = 24 * 8 + 24 + 8 * 8 + 8;
  const std::int64_t mlp = 16 * 8 + 16 + 8 * 16 + 8;
  EXPECT_EQ(count_parameters(resolved(config), 1).whole, embeddings + norms + attention + mlp);
  EXPECT_EQ(count_parameters(resolved(config), 1).of_rank, embeddings + norms + attention + mlp);
  config.parallel.tensor_model_parallel_size = 2;
  const std::int64_t local = 16 * 8 + 16 * 8 + norms + 12 * 8 + 12 + 8 * 4 + 8 + 8 * 8 + 8 + 8 * 8 + 8;
  const ParameterCount count = count_parameters(resolved(config), 3);
  EXPECT_EQ(count.of_rank, local);
  EXPECT_GE(count.gradient_buffer, local);
  EXPECT_EQ(count.gradient_buffer % 3, 0);
  config.parallel.tensor_model_parallel_size = 5;
  EXPECT_THROW(count_parameters(resolved(config), 1), ConfigError);
}

TEST(StepCost, BytesOfStateByType) {
  Config config = small_model();
  const ParameterCount count{.whole = 100, .of_rank = 100, .gradient_buffer = 128, .optimizer = 100, .moments = 200};
  const StateBytes fp32 = state_bytes(resolved(config), count);
  EXPECT_EQ(fp32.weights, 400);
  EXPECT_EQ(fp32.gradients, 512);
  EXPECT_EQ(fp32.main_weights, 0);
  EXPECT_EQ(fp32.moments, 800);
  config.precision.bf16 = true;
  const StateBytes bf16 = state_bytes(resolved(config), count);
  EXPECT_EQ(bf16.weights, 200);
  EXPECT_EQ(bf16.main_weights, 200);
  EXPECT_EQ(bf16.sum(), 200 + 512 + 200 + 800);
  config.precision.bf16 = false;
  config.precision.fp16 = true;  // whole main weights
  EXPECT_EQ(state_bytes(resolved(config), count).sum(), 200 + 512 + 400 + 800);
  config.precision.fp16 = false;
  config.precision.fp64 = true;
  EXPECT_EQ(state_bytes(resolved(config), count).sum(), 800 + 1024 + 1600);
}

// Four ranks keep a quarter of the optimizer's state each; weights lie in a buffer like the gradients'.
TEST(StepCost, ADistributedOptimizerDividesTheState) {
  Config config = small_model();
  config.precision.bf16 = true;
  const ParameterCount whole = count_parameters(resolved(config), 4);
  EXPECT_EQ(whole.optimizer, whole.of_rank);
  config.parallel.use_distributed_optimizer = true;
  const ParameterCount shared = count_parameters(resolved(config), 4);
  EXPECT_EQ(shared.optimizer * 4, shared.gradient_buffer);
  const StateBytes bytes = state_bytes(resolved(config), shared);
  EXPECT_EQ(bytes.weights, 2 * shared.gradient_buffer);
  EXPECT_EQ(bytes.main_weights, 2 * shared.optimizer);
  EXPECT_EQ(bytes.moments, 8 * shared.optimizer);
  // A reduce-scatter of fp32 gradients, and an all-gather of bf16 weights.
  EXPECT_EQ(gradient_sum_bytes(resolved(config), shared, 4), shared.gradient_buffer * (4 + 2) * 3 / 4);
  config.precision.grad_reduce_in_bf16 = true;
  EXPECT_EQ(gradient_sum_bytes(resolved(config), shared, 4), shared.gradient_buffer * (2 + 2) * 3 / 4);
}

TEST(StepCost, TensorTrafficByHand) {
  Config config = small_model();
  config.parallel.tensor_model_parallel_size = 4;
  const std::int64_t rows = 8, pass = 8 * 2 * 8 * 4 * 3 / 4;  // rows x samples x h x fp32, 3 of 4 parts
  const std::int64_t loss = 3 * 2 * (8 * 2 * 4 * 3 / 4);
  EXPECT_EQ(tensor_layer_bytes(config, rows).forward, 4 * pass);
  EXPECT_EQ(tensor_layer_bytes(config, rows).backward, 4 * pass);
  EXPECT_EQ(tensor_ends_bytes(resolved(config), rows).forward, 2 * pass + loss);
  EXPECT_EQ(tensor_ends_bytes(resolved(config), rows).backward, 2 * pass);
  config.parallel.sequence_parallel = true;
  EXPECT_EQ(tensor_layer_bytes(config, rows).forward, 4 * pass);
  EXPECT_EQ(tensor_layer_bytes(config, rows).backward, 6 * pass);
  EXPECT_EQ(tensor_ends_bytes(resolved(config), rows).forward, 3 * pass + loss);
  EXPECT_EQ(tensor_ends_bytes(resolved(config), rows).backward, 2 * pass);
  config.model.position_embedding_type = PositionEmbedding::rope;
  EXPECT_EQ(tensor_ends_bytes(resolved(config), rows).forward, 2 * pass + loss);
  config.parallel.tensor_model_parallel_size = 1;
  EXPECT_EQ(tensor_layer_bytes(config, rows).forward, 0);
  EXPECT_EQ(tensor_ends_bytes(resolved(config), rows).forward, 0);
}

TEST(StepCost, GradientsAreSummedOverTheReplicas) {
  const ParameterCount count{.whole = 0, .of_rank = 0, .gradient_buffer = 128, .optimizer = 0};
  EXPECT_EQ(gradient_sum_bytes(resolved(small_model()), count, 1), 0);
  EXPECT_EQ(gradient_sum_bytes(resolved(small_model()), count, 4), 2 * 128 * 4 * 3 / 4);
}

}  // namespace
}  // namespace ringtron

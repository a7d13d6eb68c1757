#include "ringtron/tools/verify/shrink_config.h"

#include <gmock/gmock.h>

#include <numeric>
#include <variant>

#include "ringtron/base/text.h"
#include "ringtron/config/parse.h"
#include "ringtron/config/validate.h"

namespace ringtron {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Config config_of(const std::string& flags, int world_size) {
  const std::string line =
      "--num-layers 32 --hidden-size 4096 --num-attention-heads 32 --seq-length 8192 "
      "--max-position-embeddings 8192 "
      "--micro-batch-size 1 --global-batch-size 64 --train-iters 500000 --lr 1e-4 --lr-warmup-iters 2000 "
      "--lr-decay-style cosine --min-lr 1e-5 --bf16 --mock-data --tokenizer-type NullTokenizer --vocab-size "
      "50257 " +
      flags;
  std::vector<std::string> words;
  for (std::string& word : split(line, ' ')) {
    if (!word.empty()) words.push_back(std::move(word));
  }
  return std::get<CommandLine>(parse_command_line(words, world_size)).config;
}

void expect_valid(const ShrunkConfig& small) {
  EXPECT_THAT(validate(small.config, small.world_size), IsEmpty());
  EXPECT_THAT(validate(one_process(small.config), 1), IsEmpty());
  EXPECT_TRUE(small.config.precision.fp64);
  EXPECT_EQ(small.config.batch.train_iters, 3);
}

TEST(ShrinkConfig, TheUsersSevenBillion) {
  const Config given = config_of(
      "--tensor-model-parallel-size 4 --context-parallel-size 2 --sequence-parallel --ffn-hidden-size 13696 "
      "--init-method-std 0.01 --weight-decay 0.1 --adam-beta2 0.95",
      8);
  const ShrunkConfig small = shrink_config(given, 8, true);
  expect_valid(small);
  const ModelConfig& m = small.config.model;
  EXPECT_EQ(small.world_size, 8);
  EXPECT_EQ(m.num_layers, 2);
  EXPECT_EQ(m.num_attention_heads, 8);  // two on each tensor rank: as 8 did, they divide by CP
  EXPECT_EQ(m.seq_length, 64);
  EXPECT_EQ(small.config.parallel.tensor_model_parallel_size, 4);
  EXPECT_TRUE(small.config.parallel.sequence_parallel);
  EXPECT_EQ(small.config.precision.hidden_dropout, 0.1);
  EXPECT_EQ(small.config.optimizer.weight_decay, 0.1);
  EXPECT_EQ(one_process(small.config).parallel.context_parallel_size, 1);
  EXPECT_EQ(one_process(small.config).batch.global_batch_size, small.config.batch.global_batch_size);
  EXPECT_THAT(join(small.changes, "\n"), HasSubstr("--seq-length"));
}

TEST(ShrinkConfig, HeadsDivideAsBefore) {
  struct Case {
    int tp, cp, heads, groups;
  };
  for (const Case c : {Case{1, 4, 7, 7}, Case{1, 8, 8, 2}, Case{2, 4, 64, 8}, Case{8, 2, 64, 8}, Case{1, 6, 96, 96},
                       Case{1, 16, 32, 1}, Case{1, 3, 32, 4}}) {
    const Config given = config_of(
        "--tensor-model-parallel-size " + std::to_string(c.tp) + " --context-parallel-size " + std::to_string(c.cp) +
            " --cp-comm-type a2a --kv-channels 128 --ffn-hidden-size 4096 " + "--num-attention-heads " +
            std::to_string(c.heads) + " --group-query-attention --num-query-groups " + std::to_string(c.groups),
        c.tp * c.cp);
    const ShrunkConfig small = shrink_config(given, c.tp * c.cp, true);
    expect_valid(small);
    const ModelConfig& m = small.config.model;
    EXPECT_LE(m.num_attention_heads, c.heads);
    EXPECT_EQ(m.num_attention_heads * c.groups, c.heads * m.num_query_groups);
    for (const auto& [little, big] : {std::pair{m.num_attention_heads, c.heads}, {m.num_query_groups, c.groups}}) {
      EXPECT_EQ(std::gcd(little / c.tp, c.cp), std::gcd(big / c.tp, c.cp));
      EXPECT_EQ(little / c.tp >= c.cp, big / c.tp >= c.cp);
    }
    // Several key/value heads on a rank are exchanged in parts: the small run must do it too.
    EXPECT_EQ(m.num_query_groups / c.tp >= 2 * c.cp, c.groups / c.tp >= 2 * c.cp);
  }
}

TEST(ShrinkConfig, EveryTransportOnce) {
  std::string types;
  for (int i = 0; i < 32; ++i) types += i % 4 == 3 ? " a2a" : " p2p";
  EXPECT_THAT(shrink_config(config_of("--context-parallel-size 2 --cp-comm-type" + types, 2), 2, true)
                  .config.parallel.cp_comm_type,
              ElementsAre("p2p", "a2a"));
  const ShrunkConfig chosen = shrink_config(
      config_of("--context-parallel-size 4 --cp-comm-type auto --hierarchical-context-parallel-sizes 2 2", 4), 4, true);
  expect_valid(chosen);
  EXPECT_THAT(chosen.config.parallel.cp_comm_type, ElementsAre("p2p", "all_gather", "a2a", "a2a+p2p"));
  EXPECT_EQ(chosen.config.model.num_layers, 4);
}

TEST(ShrinkConfig, HybridModelsKeepALayerOfEachKindForEachTransport) {
  ShrunkConfig small = shrink_config(
      config_of("--context-parallel-size 2 --hybrid-layer-pattern MM*M-M*M- --cp-comm-type p2p p2p p2p p2p p2p p2p a2a "
                "a2a a2a",
                2),
      2, true);
  expect_valid(small);
  EXPECT_EQ(small.config.model.hybrid_layer_pattern, "M*-M*-");
  EXPECT_THAT(small.config.parallel.cp_comm_type, ElementsAre("p2p", "p2p", "p2p", "a2a", "a2a", "a2a"));
  EXPECT_THAT(small.changes, ::testing::Contains(::testing::HasSubstr("--hybrid-layer-pattern   MM*M-M*M- -> M*-M*-")));
  small = shrink_config(config_of("--context-parallel-size 2 --hybrid-layer-pattern MMMM", 2), 2, true);
  expect_valid(small);
  EXPECT_EQ(small.config.model.hybrid_layer_pattern, "M");
}

TEST(ShrinkConfig, LengthAndWindowKeepTheirShape) {
  for (const int length : {8191, 8192, 8194, 100001}) {
    const Config given = config_of(
        "--context-parallel-size 4 --window-size 1024 0 --max-position-embeddings 200000 "
        "--seq-length " +
            std::to_string(length),
        4);
    const ShrunkConfig small = shrink_config(given, 4, true);
    expect_valid(small);
    EXPECT_LT(small.config.model.seq_length, 100);
    EXPECT_EQ(small.config.model.seq_length % 8, length % 8);
    EXPECT_EQ(small.config.model.window_size.at(1), 0);
    EXPECT_GE(small.config.model.window_size.at(0), 1);
    EXPECT_LT(small.config.model.window_size.at(0), small.config.model.seq_length / 2);
  }
  EXPECT_EQ(shrink_config(config_of("--context-parallel-size 2 --seq-length 7", 2), 2, true).config.model.seq_length,
            7);
}

TEST(ShrinkConfig, MasksAndDocumentsStay) {
  const ShrunkConfig small =
      shrink_config(config_of("--context-parallel-size 2 --reset-attention-mask --reset-position-ids "
                              "--eod-mask-loss --cp-layout balanced "
                              "--softmax-type learnable --attention-dropout 0.2",
                              2),
                    2, true);
  expect_valid(small);
  EXPECT_TRUE(small.config.data.reset_attention_mask);
  EXPECT_TRUE(small.config.data.reset_position_ids);
  EXPECT_TRUE(small.config.data.eod_mask_loss);
  EXPECT_EQ(small.config.parallel.cp_layout, CpLayout::balanced);
  EXPECT_EQ(small.config.model.softmax_type, SoftmaxKind::learnable);
  EXPECT_EQ(small.config.precision.attention_dropout, 0.2);
}

TEST(ShrinkConfig, ReplicasAreDroppedOnRequestOnly) {
  const Config given = config_of("--tensor-model-parallel-size 4 --context-parallel-size 2", 32);
  const ShrunkConfig fewer = shrink_config(given, 32, true);
  expect_valid(fewer);
  EXPECT_EQ(fewer.world_size, 16);
  const ShrunkConfig all = shrink_config(given, 32, false);
  expect_valid(all);
  EXPECT_EQ(all.world_size, 32);
}

TEST(ShrinkConfig, RecomputesAsGivenAndComparesWithARunThatKeepsAll) {
  const Config given = config_of(
      "--context-parallel-size 4 --recompute-granularity full --recompute-method uniform --recompute-num-layers 8 "
      "--cp-keep-kv",
      4);
  const ShrunkConfig small = shrink_config(given, 4, true);
  expect_valid(small);
  EXPECT_EQ(small.config.recompute.granularity, RecomputeGranularity::full);
  EXPECT_EQ(small.config.recompute.num_layers, 2);
  EXPECT_TRUE(small.config.recompute.cp_keep_kv);
  EXPECT_THAT(join(small.changes, "\n"), HasSubstr("--recompute-num-layers   8 -> 2"));
  EXPECT_EQ(one_process(small.config).recompute.granularity, std::nullopt);
  EXPECT_FALSE(one_process(small.config).recompute.cp_keep_kv);
}

}  // namespace
}  // namespace ringtron

// What is told about memory: sums, and flags that really bring them down.
#include "ringtron/models/memory_estimate.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <limits>

#include "ringtron/base/text.h"
#include "ringtron/config/parse.h"
#include "ringtron/config/resolved_config.h"

namespace ringtron {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

ResolvedConfig config_of(const std::string& flags, int world_size) {
  std::vector<std::string> words;
  for (std::string& word : split(
           "--num-layers 4 --hidden-size 256 --num-attention-heads 8 --seq-length 2048 --max-position-embeddings 2048 "
           "--mock-data --tokenizer-type NullTokenizer --vocab-size 1000 --padded-vocab-size 1024 --train-iters 1 "
           "--lr 0.01 --micro-batch-size 4 " +
               flags,
           ' ')) {
    if (!word.empty()) words.push_back(std::move(word));
  }
  return resolve(std::get<CommandLine>(parse_command_line(words, world_size)).config, world_size, 1000).valid();
}

TEST(MemoryEstimate, IsStateAndActivations) {
  const ResolvedConfig config = config_of("", 1);
  const MemoryEstimate estimate = estimate_memory(config);
  EXPECT_EQ(estimate.state.sum(), state_bytes(config, count_parameters(config, 1)).sum());
  EXPECT_EQ(estimate.activations.peak(), activation_bytes(config, 2048).peak());
  EXPECT_EQ(estimate.peak(), estimate.state.sum() + estimate.activations.peak());
  EXPECT_THAT(to_string(estimate), HasSubstr("weights "));
}

// Asked for rank by rank, so its time must not grow with the square of the ranks: that took minutes here.
TEST(MemoryEstimate, OfThousandsOfStages) {
  const ResolvedConfig config =
      config_of("--num-layers 8192 --pipeline-model-parallel-size 4096 --global-batch-size 32768", 4096);
  const MemoryEstimate estimate = estimate_memory(config);
  EXPECT_EQ(estimate.pipeline_rank, 0);
  EXPECT_EQ(estimate.activations.in_flight, 4096);
  const ModelSpec model = model_spec(config);
  EXPECT_EQ(estimate.state.sum(), state_bytes(config, count_parameters(config, model, 1, 0)).sum());
  EXPECT_GT(count_parameters(config, 1).whole, 4000 * count_parameters(config, model, 1, 1).of_rank);
}

// What is kept goes by the micro-batches under way; what is left for weight gradients is the same with any
// recomputation.
TEST(MemoryEstimate, OfPipelineSchedules) {
  const auto layers = [](const std::string& flags, int rank) {
    const ResolvedConfig config = config_of("--pipeline-model-parallel-size 2 --global-batch-size 16 " + flags, 2);
    return activation_bytes(config, model_spec(config), 2048, rank).layers;
  };
  const std::string outputs_again = "--recompute-granularity selective --recompute-modules layernorm ",
                    zero_bubble_alone = "--pipeline-schedule zero-bubble ",
                    zero_bubble = zero_bubble_alone + outputs_again,
                    gpipe = "--pipeline-schedule GPipe " + outputs_again,
                    recompute = "--recompute-granularity full --recompute-method uniform --recompute-num-layers 1";
  const std::int64_t one = layers(outputs_again, 1), left = layers(zero_bubble, 1) / 2;
  EXPECT_EQ(layers(outputs_again, 0), 2 * one);
  for (const int rank : {0, 1}) EXPECT_EQ(layers(gpipe, rank), 4 * one);
  EXPECT_GT(left, one);
  EXPECT_LT(left, 2 * one);
  EXPECT_EQ(layers(zero_bubble, 0), one + left);
  EXPECT_EQ(layers(zero_bubble_alone + recompute, 0), layers(recompute, 1) + left);
  EXPECT_EQ(layers(zero_bubble_alone + recompute, 1), 2 * left);
}

// An evaluation counts where it takes more than a step.
TEST(MemoryEstimate, OfALargerEvaluation) {
  const MemoryEstimate step = estimate_memory(config_of("", 1));
  EXPECT_EQ(step.activations.evaluation, 0);
  EXPECT_EQ(evaluation_note(config_of("", 1), step), "");
  const auto with = [](int samples) {
    return config_of(fmt::format("--eval-micro-batch-size {} --eval-global-batch-size {}", samples, samples), 1);
  };
  const MemoryEstimate slightly = estimate_memory(with(5)), far = estimate_memory(with(256));
  EXPECT_GT(slightly.activations.evaluation, 0);
  EXPECT_EQ(slightly.peak(), step.peak());
  EXPECT_EQ(far.activations.of_training(), step.activations.peak());
  EXPECT_EQ(far.peak(), far.state.sum() + far.activations.evaluation);
  EXPECT_THAT(evaluation_note(with(256), far), HasSubstr("--eval-micro-batch-size 256"));
  EXPECT_THAT(memory_advice(with(256), step.peak()), HasSubstr("--eval-micro-batch-size 4 ("));
  EXPECT_EQ(estimate_memory(config_of("--eval-iters 0 --eval-micro-batch-size 256 --eval-global-batch-size 256", 1))
                .activations.evaluation,
            0);
}

// Every advice is a command line that is valid and needs what it says.
TEST(MemoryEstimate, SavingsAreFlagsThatWork) {
  for (const auto& [flags, ranks] :
       {std::pair{"", 1},
        {"--bf16", 1},
        {"--fp64", 1},
        {"--fp16", 1},
        {"--tensor-model-parallel-size 2", 2},
        {"--context-parallel-size 2 --bf16 --normalization RMSNorm --swiglu --ffn-hidden-size 512", 2},
        {"--tensor-model-parallel-size 2 --context-parallel-size 2 --sequence-parallel", 4},
        {"--context-parallel-size 2 --bf16 --use-distributed-optimizer", 8},
        {"--pipeline-model-parallel-size 2 --pipeline-schedule zero-bubble --global-batch-size 16", 4},
        {"--eval-micro-batch-size 256 --eval-global-batch-size 512", 1},
        {"--recompute-granularity full --recompute-method uniform --recompute-num-layers 2", 1}}) {
    const ResolvedConfig now = config_of(flags, ranks);
    const std::vector<MemorySaving> savings = memory_savings(now);
    EXPECT_FALSE(savings.empty()) << flags;
    for (const MemorySaving& saving : savings) {
      EXPECT_LT(saving.estimate.peak(), estimate_memory(now).peak()) << saving.flags;
      std::string changed = std::string(flags) + " " + saving.flags;
      if (const auto instead = changed.find("--bf16 instead of --fp64"); instead != std::string::npos)
        changed = "--bf16";
      if (changed.find("--bf16 instead of --fp16") != std::string::npos) changed = "--bf16";
      const int world = ranks * saving.times_ranks;
      EXPECT_EQ(estimate_memory(config_of(changed, world)).peak(), saving.estimate.peak()) << changed;
    }
  }
}

TEST(MemoryEstimate, TheCheapestThatFitsIsNamedFirst) {
  const ResolvedConfig config = config_of("", 1);
  const std::int64_t peak = estimate_memory(config).peak();
  EXPECT_THAT(memory_advice(config, peak - 1), ::testing::StartsWith("--recompute-granularity full"));
  EXPECT_THAT(memory_advice(config, peak - 1), HasSubstr("--micro-batch-size 1 ("));
  EXPECT_THAT(memory_advice(config, 1), HasSubstr("is not enough"));
  // Weights that are too large are not made smaller by shorter sequences.
  const std::int64_t state = estimate_memory(config).state.sum();
  const std::string less_state = memory_advice(config, state - 1);
  EXPECT_THAT(less_state, HasSubstr("--tensor-model-parallel-size"));
  EXPECT_THAT(less_state, Not(HasSubstr("--context-parallel-size")));
}

// What costs nothing comes first, where there are ranks to divide the state over.
TEST(MemoryEstimate, DividesTheOptimizerFirst) {
  EXPECT_THAT(memory_savings(config_of("", 1)).front().flags, Not(HasSubstr("--use-distributed-optimizer")));
  const ResolvedConfig four = config_of("--context-parallel-size 2 --bf16", 4);
  const MemorySaving first = memory_savings(four).front();
  EXPECT_EQ(first.flags, "--use-distributed-optimizer");
  const StateBytes before = estimate_memory(four).state, after = first.estimate.state;
  EXPECT_NEAR(static_cast<double>(after.moments + after.main_weights),
              static_cast<double>(before.moments + before.main_weights) / 4,
              1e-3 * static_cast<double>(before.moments));
}

// The largest sizes that the rules allow do not leave 64 bits.
TEST(MemoryEstimate, OfTheLargestSizesIsPositive) {
  Config config = config_of("--fp64 --micro-batch-size 1", 1);
  ModelConfig& m = config.model;
  m.num_layers = 1 << 14;
  m.hidden_size = 1 << 19;
  m.ffn_hidden_size = 1 << 21;
  m.swiglu = true;
  m.num_attention_heads = m.num_query_groups = 1 << 13;
  m.kv_channels = 1 << 7;
  m.seq_length = m.max_position_embeddings = m.padded_vocab_size = 1 << 28;
  m.untie_embeddings_and_output_weights = true;
  const MemoryEstimate estimate = estimate_memory(resolve(config, 1, 1000).despite_faults());
  EXPECT_GT(estimate.state.sum(), std::int64_t{1} << 60);
  EXPECT_GT(estimate.activations.peak(), std::int64_t{1} << 59);
  EXPECT_GT(estimate.peak(), estimate.state.sum());
}

}  // namespace
}  // namespace ringtron

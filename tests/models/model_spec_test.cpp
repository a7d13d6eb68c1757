// What is declared of a model without LibTorch is what the model registers; its operations are counted by
// hand.
#include "ringtron/models/model_spec.h"

#include <gmock/gmock.h>

#include <set>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/config/parse.h"
#include "ringtron/config/resolved_config.h"
#include "ringtron/train/assembly.h"

namespace ringtron {
namespace {

using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

Config config_of(const std::string& flags) {
  const std::string line =
      "--num-layers 2 --hidden-size 32 --num-attention-heads 8 --seq-length 16 --max-position-embeddings 24 "
      "--make-vocab-size-divisible-by 8 --padded-vocab-size 64 --tokenizer-type NullTokenizer --vocab-size "
      "61 --mock-data "
      "--micro-batch-size 1 --train-iters 1 --lr 0.01 --distributed-backend gloo " +
      flags;
  std::vector<std::string> words;
  for (std::string& word : split(line, ' ')) {
    if (!word.empty()) words.push_back(std::move(word));
  }
  return std::get<CommandLine>(parse_command_line(words, 1)).config;
}

// As the checkpoint sees them.
ParameterSpecs registered(const Config& config) {
  const Job job(config, LaunchEnvironment{});
  Assembly assembly(job);
  ParameterSpecs specs;
  for (const Parameter* parameter : assembly.store().all()) specs.push_back(*parameter);
  return specs;
}

ParameterSpecs declared(const Config& config) {
  return model_parameters(model_spec(resolve(config, 1, 61).valid(), {}, 61));
}

void expect_same(const ParameterSpecs& expected, const ParameterSpecs& got) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(got[i].name, expected[i].name);
    EXPECT_TRUE(got[i] == expected[i]) << got[i].name;
  }
}

TEST(ModelSpecTest, ParametersAreWhatTheModelRegisters) {
  const char* const kModels[] = {
      "",
      "--bf16 --untie-embeddings-and-output-weights",
      "--normalization RMSNorm --swiglu --position-embedding-type rope --disable-bias-linear "
      "--untie-embeddings-and-output-weights",
      "--group-query-attention --num-query-groups 2 --kv-channels 6 --qk-layernorm",
      "--disable-bias-linear --add-qkv-bias --squared-relu --position-embedding-type none",
      "--normalization RMSNorm --qk-layernorm --swiglu --ffn-hidden-size 40 --num-layers 3",
      "--softmax-type off-by-one",
      "--softmax-type learnable",
      "--hybrid-layer-pattern M*M- --mamba-num-groups 2 --mamba-head-dim 8 --mamba-state-dim 6",
      "--hybrid-layer-pattern -M* --mamba-num-groups 1 --mamba-head-dim 16 --normalization RMSNorm --swiglu --bf16",
  };
  for (const char* flags : kModels) {
    SCOPED_TRACE(flags);
    const Config config = config_of(flags);
    expect_same(registered(config), declared(config));
  }
}

std::vector<std::int64_t> shape_of(const ParameterSpecs& specs, const std::string& name) {
  for (const ParameterSpec& spec : specs) {
    if (spec.name == name) return spec.shard.global_shape;
  }
  return {};
}

TEST(ModelSpecTest, HybridModelsHaveMegatronsNamesAndShapes) {
  const ParameterSpecs specs = declared(config_of(
      "--hybrid-layer-pattern M*- --mamba-num-groups 2 --mamba-head-dim 8 --mamba-state-dim 6 --normalization RMSNorm"));
  using Shape = std::vector<std::int64_t>;
  // 64 channels in 8 heads; 2 groups of 6.
  EXPECT_EQ(shape_of(specs, "decoder.layers.0.mixer.in_proj.layer_norm_weight"), (Shape{32}));
  EXPECT_EQ(shape_of(specs, "decoder.layers.0.mixer.in_proj.weight"), (Shape{64 + 64 + 12 + 12 + 8, 32}));
  EXPECT_EQ(shape_of(specs, "decoder.layers.0.mixer.conv1d_weight"), (Shape{64 + 12 + 12, 1, 4}));
  EXPECT_EQ(shape_of(specs, "decoder.layers.0.mixer.conv1d_bias"), (Shape{64 + 12 + 12}));
  for (const char* name : {"dt_bias", "A_log", "D"}) {
    EXPECT_EQ(shape_of(specs, std::string("decoder.layers.0.mixer.") + name), (Shape{8})) << name;
  }
  EXPECT_EQ(shape_of(specs, "decoder.layers.0.mixer.norm.weight"), (Shape{64}));
  EXPECT_EQ(shape_of(specs, "decoder.layers.0.mixer.out_proj.weight"), (Shape{32, 64}));
  EXPECT_EQ(shape_of(specs, "decoder.layers.1.self_attention.linear_proj.weight"), (Shape{32, 32}));
  EXPECT_EQ(shape_of(specs, "decoder.layers.1.mlp.linear_fc1.weight"), Shape{});
  EXPECT_EQ(shape_of(specs, "decoder.layers.2.mlp.linear_fc1.layer_norm_weight"), (Shape{32}));
  EXPECT_EQ(shape_of(specs, "decoder.layers.2.self_attention.linear_proj.weight"), Shape{});
  EXPECT_EQ(shape_of(specs, "decoder.final_norm.weight"), (Shape{32}));
}

TEST(ModelSpecTest, AnotherModelIsSeen) {  // negative control
  const ParameterSpecs specs = declared(config_of(""));
  EXPECT_NE(specs, registered(config_of("--swiglu")));
  EXPECT_NE(specs, registered(config_of("--untie-embeddings-and-output-weights")));
  EXPECT_NE(specs, registered(config_of("--init-method-std 0.01")));
}

TEST(ModelSpecTest, NormsAndRowBiasesSumOverTheTensorAxisUnderSequenceParallelism) {
  Config config = config_of("");
  const auto names_summed_over_tensor = [&] {
    std::set<std::string> names;
    for (const ParameterSpec& spec : layer_parameters(model_spec(resolve(config, 2, 61).despite_faults()), {})) {
      if (spec.gradient_axes.contains(Axis::tensor))
        names.insert(spec.name.substr(std::string("decoder.layers.0.").size()));
    }
    return names;
  };
  EXPECT_THAT(names_summed_over_tensor(), IsEmpty());
  config.parallel.tensor_model_parallel_size = 2;
  config.parallel.sequence_parallel = true;
  EXPECT_THAT(
      names_summed_over_tensor(),
      UnorderedElementsAre("self_attention.linear_qkv.layer_norm_weight", "self_attention.linear_qkv.layer_norm_bias",
                           "mlp.linear_fc1.layer_norm_weight", "mlp.linear_fc1.layer_norm_bias",
                           "self_attention.linear_proj.bias", "mlp.linear_fc2.bias"));
}

TEST(ModelSpecTest, Elements) {
  const ParameterSpec spec{"w", ShardSpec{{12, 5}, 0, {6, 6}}};
  EXPECT_EQ(spec.elements(), 60);
  EXPECT_EQ(spec.local_elements(3), 20);
  EXPECT_THROW(spec.local_elements(4), ConfigError);
}

ModelSpec small_model() {
  ModelSpec model;
  model.layers.resize(2);
  AttentionOptions& attention = model.transformer.attention;
  attention.hidden = model.transformer.mlp.hidden = model.output.norm.width = 4;
  attention.heads = attention.head_size = 2;
  attention.groups = 1;
  model.transformer.mlp.ffn = 8;
  model.output.padded_vocabulary = 10;
  return model;
}

TEST(ModelSpecTest, OperationsOfASmallModelByHand) {
  ModelSpec model = small_model();
  // 15 tokens x 6 x (2 layers x (64 + 48) + 40 weights), and 3 triangles of 15 cells x 2 layers x 12 x 4
  EXPECT_EQ(step_flops(model, 15, 45), 15 * 6 * (2 * (64 + 48) + 40) + 45 * 2 * 12 * 4);
  const double plain = step_flops(model, 15, 45);
  model.transformer.mlp.activation = Activation::swiglu;
  EXPECT_EQ(step_flops(model, 15, 45) - plain, 15 * 6 * 2 * 32);
}

TEST(ModelSpecTest, NoOperationsOfAModelWhoseVocabularyIsNotKnownYet) {
  ModelSpec model = small_model();
  model.output.padded_vocabulary = 0;
  EXPECT_THROW(step_flops(model, 1, 1), InternalError);
}

}  // namespace
}  // namespace ringtron

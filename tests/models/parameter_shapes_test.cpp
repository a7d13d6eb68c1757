// The torch-free list of parameters is what the model registers.
#include "ringtron/models/parameter_shapes.h"

#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/config/parse.h"
#include "ringtron/train/assembly.h"

namespace ringtron {
namespace {

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

std::vector<ParameterShape> registered(const Config& config) {
  const Job job(config, LaunchEnvironment{});
  Assembly assembly(job);
  std::vector<ParameterShape> shapes;
  for (const Parameter* parameter : assembly.store().all())
    shapes.push_back({parameter->name, parameter->shard});
  return shapes;
}

void expect_same(const std::vector<ParameterShape>& expected, const std::vector<ParameterShape>& got) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(got[i].name, expected[i].name);
    EXPECT_TRUE(got[i].shard == expected[i].shard) << got[i].name;
  }
}

TEST(ParameterShapes, AreWhatTheModelRegisters) {
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
  };
  for (const char* flags : kModels) {
    SCOPED_TRACE(flags);
    const Config config = config_of(flags);
    expect_same(registered(config), gpt_parameter_shapes(config.model));
  }
}

TEST(ParameterShapes, AnotherModelIsSeen) {  // negative control
  const auto shapes = gpt_parameter_shapes(config_of("").model);
  EXPECT_NE(shapes, registered(config_of("--swiglu")));
  EXPECT_NE(shapes, registered(config_of("--untie-embeddings-and-output-weights")));
}

TEST(ParameterShapes, Elements) {
  const ParameterShape shape{"w", ShardSpec{{12, 5}, 0, {6, 6}}};
  EXPECT_EQ(shape.elements(), 60);
  EXPECT_EQ(shape.local_elements(3), 20);
  EXPECT_THROW(shape.local_elements(4), ConfigError);
}

}  // namespace
}  // namespace ringtron

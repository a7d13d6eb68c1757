// Small models of every family that transformers has saved, loaded with --load DIR --finetune: after every token every
// id has the log-probability that transformers gives it, in fp32 and in fp64.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/config/parse.h"
#include "ringtron/hugging_face/convert.h"
#include "ringtron/train/assembly.h"
#include "ringtron/train/checkpoint_loader.h"
#include "ringtron/train/start_up/checkpoint_arguments.h"
#include "tests/hugging_face/small_models.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using testing::ChangedModel;
using ::testing::HasSubstr;
using testing::small_model;
using testing::TempDir;
using Json = nlohmann::json;

constexpr std::int64_t kVocabulary = 32, kLength = 24;
constexpr double kNear = 1e-5;  // fp32 sums in another order; log-probabilities are of the order of 1 to 10

Config config_of(const std::filesystem::path& load, const std::string& flags) {
  const std::string line = fmt::format(
      "--load {} --finetune --seq-length {} --micro-batch-size 32 --train-iters 1 --lr 0.01 --mock-data --eval-iters 0 "
      "--distributed-backend gloo --tokenizer-type NullTokenizer --vocab-size {} --make-vocab-size-divisible-by 8 {}",
      load.string(), kLength, kVocabulary, flags);
  std::vector<std::string> words;
  for (std::string& word : split(line, ' ')) {
    if (!word.empty()) words.push_back(std::move(word));
  }
  return std::get<CommandLine>(parse_command_line(words, 1, checkpoint_arguments(words).defaults)).config;
}

// Of every id after every token, [s, V]: the loss of id v is -log p(v), so sample v has v for all labels.
at::Tensor log_probabilities(const std::filesystem::path& load, const std::string& flags, const at::Tensor& tokens) {
  const Job job(config_of(load, flags), LaunchEnvironment{});
  Assembly parts(job);
  EXPECT_TRUE(load_checkpoint(job, parts.state()));
  const at::NoGradGuard no_grad;
  GptInput in;
  in.tokens = tokens.expand({kVocabulary, kLength}).contiguous();
  in.labels = at::arange(kVocabulary, at::kLong).unsqueeze(1).expand({kVocabulary, kLength}).contiguous();
  in.positions = at::arange(kLength, at::kLong);
  in.position_ids = in.positions.expand({kVocabulary, kLength}).contiguous();
  for (std::int64_t i = 0; i < kVocabulary; ++i) in.sample_numbers.push_back(i);
  const at::Tensor weights =
      at::ones({kLength, kVocabulary}, parts.store().options().type == at::kDouble ? at::kDouble : at::kFloat);
  return -parts.model().forward(in, {0, /*training=*/false}, weights).each.to(at::kDouble);
}

struct Expected {
  at::Tensor tokens, log_probabilities;  // [s], [s, V]
};

Expected expected_of(const std::string& name) {
  const Json json = Json::parse(read_file(small_model(name) / "expected.json"));
  std::vector<double> flat;
  for (const Json& row : json.at("log_probabilities")) {
    for (const Json& value : row) flat.push_back(value.get<double>());
  }
  return {at::tensor(json.at("tokens").get<std::vector<std::int64_t>>(), at::kLong),
          at::tensor(flat, at::kDouble).view({kLength, kVocabulary})};
}

class HuggingFaceLogits : public ::testing::TestWithParam<const char*> {};

TEST_P(HuggingFaceLogits, AreThoseOfTransformers) {
  const Expected expected = expected_of(GetParam());
  for (const char* flags : {"", "--fp64"}) {
    EXPECT_TENSOR_NEAR(log_probabilities(small_model(GetParam()), flags, expected.tokens), expected.log_probabilities,
                       kNear);
  }
}

TEST_P(HuggingFaceLogits, OfTheConvertedCheckpointToo) {
  const Expected expected = expected_of(GetParam());
  const TempDir dir;
  import_hf(small_model(GetParam()), dir / "checkpoints", [](std::uint64_t, std::uint64_t) {});
  EXPECT_TENSOR_NEAR(log_probabilities(dir / "checkpoints", "--use-checkpoint-args", expected.tokens),
                     expected.log_probabilities, kNear);
}

INSTANTIATE_TEST_SUITE_P(Families, HuggingFaceLogits, ::testing::ValuesIn(testing::kSmallModels),
                         [](const auto& test) { return std::string(test.param); });

// Negative controls: a model that is a little different.
void expect_apart(const std::string& name, const std::string& flags,
                  const std::function<void(Json& config)>& change = {}) {
  const ChangedModel model(name, change);
  const Expected expected = expected_of(name);
  EXPECT_FALSE(testing::tensor_near(log_probabilities(model.folder(), flags, expected.tokens),
                                    expected.log_probabilities, 2 * kNear))
      << name << " " << flags;
}

TEST(HuggingFaceLogits, EachPartIsNoticed) {
  expect_apart("llama2", "--rotary-seq-len-interpolation-factor 1");
  expect_apart("llama3", "--rope-scaling-factor 4");
  expect_apart("llama3", "", [](Json& config) { config["rms_norm_eps"] = 1e-3; });
  expect_apart("mistral", "--window-size 6,0");
  expect_apart("qwen2", "--mscale 0.9");
  expect_apart("qwen2", "--yarn-original-max-position-embeddings 64");
  expect_apart("qwen3", "--rotary-base 900000");
  expect_apart("gpt2", "", [](Json& config) { config["activation_function"] = "gelu"; });
}

TEST(HuggingFaceLoad, TakesTheModelsFlags) {
  const std::vector<std::string> words = {"--load", small_model("qwen3").string(), "--finetune"};
  const CheckpointArguments arguments = checkpoint_arguments(words);
  EXPECT_EQ(arguments.defaults.model.num_layers, 2);
  EXPECT_EQ(arguments.defaults.precision.hidden_dropout, 0.0);
  EXPECT_THAT(arguments.notice,
              HasSubstr("a qwen3 model of Hugging Face. Its config.json gives, where the command line "
                        "does not: --num-layers 2 --hidden-size 16"));
  EXPECT_THAT(arguments.notice, HasSubstr("--swiglu"));
}

TEST(HuggingFaceLoad, TakesTheTokenizerBesideTheWeights) {
  const ChangedModel model("llama3");
  const std::vector<std::string> words = {"--load", model.folder().string(), "--finetune"};
  EXPECT_TRUE(checkpoint_arguments(words).defaults.data.tokenizer_model.empty());
  write_file_atomically(model.folder() / "tokenizer.json", "{}");
  const DataConfig data = checkpoint_arguments(words).defaults.data;
  EXPECT_EQ(data.tokenizer_type, TokenizerType::hugging_face);
  EXPECT_EQ(data.tokenizer_model, model.folder().string());
}

TEST(HuggingFaceLoad, NeedsFinetune) {
  const std::vector<std::string> words = {"--load", small_model("qwen3").string()};
  EXPECT_THAT([&] { checkpoint_arguments(words); }, ::testing::ThrowsMessage<ConfigError>(HasSubstr("Add --finetune")));
}

void expect_refused(const std::string& name, const std::string& flags, const std::string& message) {
  const Job job(config_of(small_model(name), flags), LaunchEnvironment{});
  Assembly parts(job);
  EXPECT_THAT([&] { load_checkpoint(job, parts.state()); }, ::testing::ThrowsMessage<ConfigError>(HasSubstr(message)));
}

TEST(HuggingFaceLoad, RefusesOtherFlags) {
  expect_refused("qwen3", "--num-layers 1", "--num-layers: 2 in the checkpoint, 1 here");
  expect_refused("llama3", "--norm-epsilon 1e-6", "--norm-epsilon");
  expect_refused("gpt2", "--vocab-size 40",
                 "embedding.word_embeddings.weight has shape [32, 16], this model's is [40, 16]");
}

// What extends the context may change, and rows of ids that the tokenizer has not are left out.
TEST(HuggingFaceLoad, MayExtendTheContext) {
  const Job job(config_of(small_model("qwen3"),
                          "--position-embedding-type yarn --rotary-scaling-factor 2 "
                          "--yarn-original-max-position-embeddings 64 --max-position-embeddings 128 --vocab-size 30"),
                LaunchEnvironment{});
  Assembly parts(job);
  EXPECT_TRUE(load_checkpoint(job, parts.state()));
}

}  // namespace
}  // namespace ringtron

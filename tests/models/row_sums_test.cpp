// The gradient of every parameter of a model in bf16, each a sum over 16,384 rows, against the same model in fp64.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <map>

#include "ringtron/base/text.h"
#include "ringtron/config/parse.h"
#include "ringtron/optim/gradient_clip.h"
#include "ringtron/train/assembly.h"

namespace ringtron {
namespace {

constexpr int kVocabulary = 61;
constexpr std::int64_t kLength = 256, kSamples = 64;

Config config_of(const std::string& flags) {
  const std::string line = fmt::format(
      "--num-layers 2 --hidden-size 32 --num-attention-heads 4 --seq-length {0} --max-position-embeddings {0} "
      "--make-vocab-size-divisible-by 8 --tokenizer-type NullTokenizer --vocab-size 61 --padded-vocab-size 64 --mock-data "
      "--micro-batch-size {1} --train-iters 1 --lr 0.01 --distributed-backend gloo --hidden-dropout 0 --attention-dropout 0 "
      "--init-method-std 0.1 {2}",
      kLength, kSamples, flags);
  std::vector<std::string> words;
  for (std::string& word : split(line, ' ')) {
    if (!word.empty()) words.push_back(std::move(word));
  }
  return std::get<CommandLine>(parse_command_line(words, 1)).config;
}

// Half of all tokens are the same one, as padding or a new line may be.
GptInput input() {
  const at::Tensor number = at::arange(kSamples * kLength, at::kLong).view({kSamples, kLength});
  GptInput in;
  in.tokens = at::where(number.remainder(2).eq(0), 7, (number * 31 + number.floor_divide(97)).remainder(kVocabulary));
  in.labels = (in.tokens * 3 + 1).remainder(kVocabulary);
  in.position_ids = at::arange(kLength, at::kLong).expand({kSamples, kLength}).contiguous();
  in.positions = at::arange(kLength, at::kLong);
  for (std::int64_t i = 0; i < kSamples; ++i) in.sample_numbers.push_back(i);
  return in;
}

struct Sums {
  std::map<std::string, at::Tensor> gradients;
  double norm = 0.0;
};

// With the weights of `like`, where it is given: bf16 fits into fp64.
Sums sums_of(const std::string& flags, Assembly* like, const std::function<void(Assembly&)>& then) {
  const Config config = config_of(flags);
  const Job job(config, LaunchEnvironment{});
  Assembly parts(job);
  if (like != nullptr) {
    const at::NoGradGuard no_grad;
    const ParameterList from = like->store().all(), to = parts.store().all();
    for (std::size_t i = 0; i < from.size(); ++i) to[i]->value.copy_(from[i]->value);
  }
  const at::Tensor weights =
      at::ones({kLength, kSamples}, parts.store().options().type == at::kDouble ? at::kDouble : at::kFloat);
  parts.reducer().begin_step(/*micro_batches=*/1);
  torch::autograd::backward({parts.model().forward(input(), {0, /*training=*/true}, weights).weighted_sum});
  Sums out;
  for (const Parameter* p : parts.store().all()) out.gradients[p->name] = p->gradient.to(at::kDouble);
  const at::Tensor one = at::ones({}, at::kDouble);
  out.norm =
      clip_gradients(parts.state().optimizer.states(), {job.parallel().model(), 0}, one, 1.0).norm.item<double>();
  if (then) then(parts);
  return out;
}

void expect_sums(const std::string& flags) {
  Sums expected;
  const Sums got = sums_of(flags + " --bf16", nullptr,
                           [&](Assembly& narrow) { expected = sums_of(flags + " --fp64", &narrow, {}); });
  EXPECT_NEAR(got.norm, expected.norm, 0.01 * expected.norm);
  // Activations are rounded on their way; what is left of that in a sum over all rows is less than one rounding or two.
  for (const auto& [name, gradient] : expected.gradients) {
    const double apart = (got.gradients.at(name) - gradient).norm().item<double>() / gradient.norm().item<double>();
    EXPECT_LT(apart, 0.02) << name;
  }
}

TEST(RowSums, OfAGptLikeModel) { expect_sums("--qk-layernorm --ffn-hidden-size 64 --softmax-type learnable"); }

TEST(RowSums, OfALlamaLikeModel) {
  expect_sums(
      "--normalization RMSNorm --swiglu --ffn-hidden-size 48 --group-query-attention --num-query-groups 2 "
      "--position-embedding-type rope --add-qkv-bias --disable-bias-linear --untie-embeddings-and-output-weights");
}

// Beside a sink, a bias of the keys' norm moves scores; without one its gradient is zero, and nothing could be held
// against it.
TEST(RowSums, OfZeroCentredNorms) {
  expect_sums(
      "--apply-layernorm-1p --qk-layernorm --softmax-type off-by-one --attention-dropout 0.1 --window-size 40,0");
}

}  // namespace
}  // namespace ringtron

// Activations really take less memory when they are recomputed: bytes of tensors, counted where they are
// allocated.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <torch/csrc/autograd/autograd.h>

#include "ringtron/base/log.h"
#include "ringtron/base/text.h"
#include "ringtron/config/parse.h"
#include "ringtron/config/resolved_config.h"
#include "ringtron/models/activation_bytes.h"
#include "ringtron/models/model_spec.h"
#include "ringtron/models/state_bytes.h"
#include "ringtron/tensor_parallel/weight_gradient_queue.h"
#include "ringtron/train/assembly.h"
#include "tests/support/allocation_peak.h"

namespace ringtron {
namespace {

constexpr int kVocabulary = 61;
constexpr std::int64_t kRows = 64, kSamples = 2, kHidden = 32;

Config config_of(const std::string& flags) {
  const std::string line = fmt::format(
      "--hidden-size {} --num-attention-heads 4 --seq-length {} --max-position-embeddings {} "
      "--make-vocab-size-divisible-by 8 --padded-vocab-size 64 --tokenizer-type NullTokenizer --vocab-size "
      "61 "
      "--mock-data --micro-batch-size {} --train-iters 1 --lr 0.01 --distributed-backend gloo {}",
      kHidden, kRows, kRows, kSamples, flags);
  std::vector<std::string> words;
  for (std::string& word : split(line, ' ')) {
    if (!word.empty()) words.push_back(std::move(word));
  }
  return std::get<CommandLine>(parse_command_line(words, 1)).config;
}

struct Memory {
  std::int64_t held = 0;  // after the forward
  std::int64_t peak = 0;  // of forward and backward
  std::int64_t left = 0;  // after a backward that leaves weight gradients for later; none after these
};

struct Run {
  const Config config;
  const Job job;
  Assembly parts;
  GptInput input;
  at::Tensor weights;

  explicit Run(const std::string& flags) : config(config_of(flags)), job(config, LaunchEnvironment{}), parts(job) {
    const std::int64_t samples = config.batch.micro_batch_size;
    input.tokens = at::randint(kVocabulary, {samples, kRows}, at::kLong);
    input.labels = at::randint(kVocabulary, {samples, kRows}, at::kLong);
    input.position_ids = at::arange(kRows, at::kLong).expand({samples, kRows}).contiguous();
    input.positions = at::arange(kRows, at::kLong);
    for (std::int64_t i = 0; i < samples; ++i) input.sample_numbers.push_back(i);
    weights = at::ones({kRows, samples});
  }
};

// The most that there is beside weights and gradients.
std::int64_t memory_of_evaluation(const std::string& flags) {
  const at::NoGradGuard no_grad;
  Run run(flags);
  const auto evaluate = [&] { return run.parts.model().forward(run.input, {0, /*training=*/false}, run.weights); };
  evaluate();  // whatever is made once
  const testing::AllocationPeak counted;
  evaluate();
  return counted.peak();
}

// Bytes beside weights and gradients, which are there before.
Memory memory_of_step(const std::string& flags, WeightGradientQueue* later = nullptr) {
  Run run(flags);
  Assembly& parts = run.parts;
  const auto forward = [&] {
    return parts.model().forward(run.input, {0, /*training=*/true, later}, run.weights).weighted_sum;
  };
  const auto run_left = [&] {
    if (later != nullptr) later->run();
  };
  parts.reducer().begin_step(/*micro_batches=*/2);
  torch::autograd::backward({forward()});  // whatever is made once
  run_left();
  const testing::AllocationPeak counted;
  at::Tensor loss = forward();
  Memory out;
  out.held = counted.current();
  torch::autograd::backward({loss});
  out.peak = counted.peak();
  loss.reset();
  out.left = counted.current();
  run_left();
  EXPECT_EQ(counted.current(), 0);
  return out;
}

std::string layers(int count, const std::string& flags) { return fmt::format("--num-layers {} {}", count, flags); }

// Of one layer more.
std::int64_t held_by_a_layer(const std::string& flags) {
  return (memory_of_step(layers(6, flags)).held - memory_of_step(layers(2, flags)).held) / 4;
}

constexpr const char* kFull = "--recompute-granularity full --recompute-method uniform --recompute-num-layers";
// Outputs of norms and activations are computed again: small models keep them otherwise.
const std::string kOutputsAgain = "--recompute-granularity selective --recompute-modules layernorm ";
constexpr const char* kLlamaLike =
    "--normalization RMSNorm --swiglu --ffn-hidden-size 80 --group-query-attention --num-query-groups 2 "
    "--position-embedding-type rope --disable-bias-linear";

// The closed form of docs/concepts/memory.md for one layer of one process, in elements per token; numbers
// of fp32 or fp64 models, where log-sum-exp and statistics of norms are as wide as the rest.
constexpr std::int64_t kHeads = 4, kHeadSize = kHidden / kHeads;
constexpr std::int64_t kGptLayer = 2 * kHidden + 4 * kHeads * kHeadSize + kHeads + 4 * kHidden + 4;
constexpr std::int64_t kGptOutputs = 2 * kHidden + 4 * kHidden, kLlamaOutputs = 2 * kHidden + 80;
constexpr std::int64_t kLlamaLayer = 2 * kHidden + (2 * kHeads + 2 * 2) * kHeadSize + kHeads + 2 * 80 + 2;

std::int64_t bytes(std::int64_t elements_per_token, std::int64_t element) {
  return elements_per_token * kRows * kSamples * element;
}

TEST(RecomputeMemory, ALayerKeepsWhatTheClosedFormSays) {
  const auto expect_held = [](const std::string& flags, std::int64_t layer, std::int64_t outputs,
                              std::int64_t element) {
    EXPECT_EQ(held_by_a_layer(kOutputsAgain + flags), bytes(layer, element)) << flags;
    EXPECT_EQ(held_by_a_layer(flags), bytes(layer + outputs, element)) << flags;
  };
  expect_held("--fp64", kGptLayer, kGptOutputs, 8);
  expect_held("", kGptLayer, kGptOutputs, 4);
  expect_held(fmt::format("--fp64 {}", kLlamaLike), kLlamaLayer, kLlamaOutputs, 8);
  expect_held("--fp64 --squared-relu", kGptLayer, kGptOutputs, 8);
  // bf16: log-sum-exp and statistics are as wide as two elements.
  expect_held("--bf16", kGptLayer + kHeads + 4, kGptOutputs, 2);
  expect_held(fmt::format("--bf16 {}", kLlamaLike), kLlamaLayer + kHeads + 2, kLlamaOutputs, 2);
}

// A hybrid model has as many layers as letters.
std::string mamba_model(const char* pattern, const std::string& flags) {
  return fmt::format(
      "--hybrid-layer-pattern {} --mamba-head-dim 8 --mamba-num-groups 2 --mamba-state-dim 6 --disable-bias-linear "
      "--normalization RMSNorm {}",
      pattern, flags);
}

std::int64_t held_by_a_mamba_layer(const std::string& flags) {
  return (memory_of_step(mamba_model("MMMM", flags)).held - memory_of_step(mamba_model("MM", flags)).held) / 2;
}

TEST(RecomputeMemory, AMambaLayerKeepsWhatTheClosedFormSays) {
  // The residual stream, what in_proj gives, what the convolution gives, what the scan gives: 8 heads of 8, 24 channels
  // of B and C.
  constexpr std::int64_t kMambaLayer = kHidden + (64 + 64 + 24 + 8) + (64 + 24) + 64;
  const auto near = [](std::int64_t got, std::int64_t elements, std::int64_t element) {
    EXPECT_NEAR(static_cast<double>(got), static_cast<double>(bytes(elements, element)), 256.0);  // the decays of heads
  };
  for (const auto& [flags, elements] :
       {std::pair(kOutputsAgain, kMambaLayer), {std::string(), kMambaLayer + kHidden + 64}}) {
    near(held_by_a_mamba_layer(flags + "--fp64"), elements + 1, 8);
    near(held_by_a_mamba_layer(flags), elements + 1, 4);
    near(held_by_a_mamba_layer(flags + "--bf16"), elements + 2, 2);
  }
}

// Of a layer whose backward leaves its weight gradients for later: of each linear layer the gradient of its output and
// what its input is or is computed from.
std::int64_t left_by_a_layer(const std::string& more, const std::string& fewer, int layers) {
  WeightGradientQueue later;
  const std::int64_t left = memory_of_step(more, &later).left - memory_of_step(fewer, &later).left;
  EXPECT_EQ(memory_of_step(more).left, 0) << "nothing without a queue";
  return left / layers;
}

TEST(RecomputeMemory, WeightGradientsForLaterLeaveWhatTheClosedFormSays) {
  // Two residual sums and the gradients of two outputs; attention's output; the gradients of q, k and v; what the
  // activation takes, and its gradient. Mamba: a residual sum and an output's gradient; what in_proj gives, whose part
  // is the gate, and its gradient; the scan's result. Where outputs are kept they are left in place of what they are
  // computed from: half as much behind SwiGLU, the gated norm's alone.
  constexpr std::int64_t kGptLeft = 4 * kHidden + kHidden + 3 * kHeads * kHeadSize + 2 * 4 * kHidden;
  constexpr std::int64_t kLlamaLeft = 4 * kHidden + kHidden + (kHeads + 2 * 2) * kHeadSize + 2 * 2 * 80;
  constexpr std::int64_t kProjected = 64 + 64 + 24 + 8, kMambaLeft = 2 * kHidden + 2 * kProjected + 64;
  for (const std::string& recompute :
       {std::string(), std::string("--recompute-activations"), fmt::format("{} 1", kFull)}) {
    const auto of_model = [&](const std::string& flags) {
      return left_by_a_layer(layers(6, flags + " " + recompute), layers(2, flags + " " + recompute), 4);
    };
    EXPECT_EQ(of_model("--fp64"), bytes(kGptLeft, 8)) << recompute;
    EXPECT_EQ(of_model("--bf16"), bytes(kGptLeft, 2)) << recompute;
    EXPECT_EQ(of_model("--hidden-dropout 0 --attention-dropout 0"), bytes(kGptLeft, 4)) << recompute;
    EXPECT_EQ(of_model(fmt::format("--fp64 {}", kLlamaLike)), bytes(kLlamaLeft - (recompute.empty() ? 80 : 0), 8))
        << recompute;
  }
  const auto of_mamba = [](const std::string& flags) {
    return left_by_a_layer(mamba_model("MMMM", flags), mamba_model("MM", flags), 2);
  };
  EXPECT_EQ(of_mamba(kOutputsAgain + "--fp64"), bytes(kMambaLeft, 8));
  EXPECT_EQ(of_mamba("--fp64"), bytes(kMambaLeft - kProjected, 8));
  const ResolvedConfig config = resolve(config_of("--num-layers 2 --fp64"), 1, kVocabulary).valid();
  const ModelSpec model = model_spec(config);
  EXPECT_EQ(layer_costs(model, model.layers[0], rank_sizes(config)).left_bytes, kGptLeft * 8);
}

// What check_cp_config tells, against what is allocated.
class ActivationBytesTest : public ::testing::TestWithParam<std::string> {
 protected:
  ActivationBytes told(const std::string& flags) const {
    return activation_bytes(resolve(config_of(flags), 1, kVocabulary).valid(), kRows);
  }
  std::string of(int count, const std::string& more) const { return layers(count, GetParam() + " " + more); }
};

TEST_P(ActivationBytesTest, OfALayer) {
  const std::string selective = "--recompute-granularity selective --recompute-modules";
  for (const std::string& recompute :
       {std::string(), std::string("--recompute-activations"), selective + " mlp", selective + " mlp core_attn",
        fmt::format("{} 1", kFull), fmt::format("{} 2", kFull)}) {
    const std::int64_t expected = (told(of(6, recompute)).layers - told(of(2, recompute)).layers) / 4;
    const std::int64_t held = held_by_a_layer(GetParam() + " " + recompute);
    EXPECT_EQ(held, expected) << recompute;
  }
}

// Logits of more than the rows that are copied to a wide type at a time.
TEST_P(ActivationBytesTest, OfTheLoss) {
  const auto vocabulary = [&](int size) { return of(2, fmt::format("--padded-vocab-size {}", size)); };
  const double held =
      static_cast<double>(memory_of_step(vocabulary(16384)).peak - memory_of_step(vocabulary(8192)).peak);
  double expected = static_cast<double>(told(vocabulary(16384)).peak() - told(vocabulary(8192)).peak());
  // On a CPU, and there in bf16 alone, the product of the output weight's gradient is widened before it is added; that
  // does not grow with the tokens, of which a test has few.
  if (GetParam().starts_with("--bf16")) expected += 8192 * kHidden * 4;
  EXPECT_NEAR(held, expected, 0.01 * expected);
}

// With a small vocabulary the segment at work decides. What the backward of a layer needs for itself is not told; it is
// the same for segments of any size.
TEST_P(ActivationBytesTest, OfASegmentAtWork) {
  const auto segments_of = [&](int size) { return of(8, fmt::format("{} {}", kFull, size)); };
  ASSERT_GT(told(segments_of(2)).segment, told(segments_of(2)).loss);
  const double held = static_cast<double>(memory_of_step(segments_of(4)).peak - memory_of_step(segments_of(2)).peak);
  const double expected = static_cast<double>(told(segments_of(4)).peak() - told(segments_of(2)).peak());
  EXPECT_NEAR(held, expected, 0.02 * expected);
}

INSTANTIATE_TEST_SUITE_P(Models, ActivationBytesTest,
                         ::testing::Values("--fp64", "", "--bf16", std::string("--fp64 ") + kLlamaLike, kLlamaLike,
                                           std::string("--bf16 ") + kLlamaLike));

TEST(RecomputeMemory, ARecomputedLayerKeepsItsInput) {
  for (const char* model : {"", kLlamaLike}) {
    EXPECT_EQ(held_by_a_layer(fmt::format("--fp64 {} {} 1", model, kFull)), bytes(kHidden, 8));
    EXPECT_EQ(held_by_a_layer(fmt::format("--fp64 {} {} 2", model, kFull)), bytes(kHidden, 8) / 2)
        << "one in two layers";
    EXPECT_EQ(held_by_a_layer(fmt::format("--bf16 {} {} 1", model, kFull)), bytes(kHidden, 2));
  }
}

// Attention keeps no scores anyway: all that recomputing it alone saves is the log-sum-exp.
TEST(RecomputeMemory, RecomputedAttentionSavesLittle) {
  EXPECT_EQ(held_by_a_layer("--fp64 --recompute-activations"), bytes(kGptLayer - kHeads, 8));
  EXPECT_EQ(held_by_a_layer(fmt::format("--fp64 --recompute-activations {}", kLlamaLike)),
            bytes(kLlamaLayer - kHeads, 8));
}

// Logits of an evaluation whose micro-batches are larger than training's.
TEST(RecomputeMemory, AnEvaluationTakesItsLogits) {
  const auto flags = [](int vocabulary, int samples) {
    return fmt::format("--num-layers 2 --padded-vocab-size {} --micro-batch-size {}", vocabulary, samples);
  };
  const auto held = [&](int vocabulary) { return memory_of_evaluation(flags(vocabulary, 8)); };
  const auto told = [&](int vocabulary) {
    const std::string line = flags(vocabulary, 1) + " --eval-micro-batch-size 8 --eval-global-batch-size 8";
    return activation_bytes(resolve(config_of(line), 1, kVocabulary).valid(), kRows);
  };
  const double grown = static_cast<double>(held(16384) - held(8192));
  EXPECT_NEAR(grown, static_cast<double>(told(16384).peak() - told(8192).peak()), 0.01 * grown);
  EXPECT_GT(told(8192).evaluation, told(8192).of_training());
  // The loss on a CPU works on some rows at a time, which are not told.
  const double all = static_cast<double>(held(8192));
  EXPECT_NEAR(static_cast<double>(told(8192).evaluation), all, 0.15 * all);
}

TEST(RecomputeMemory, ThePeakOfAStepFalls) {
  constexpr const char* kBlock =
      "--fp64 --recompute-granularity full --recompute-method block --recompute-num-layers 4";
  const std::int64_t layer = bytes(kGptLayer, 8), input = bytes(kHidden, 8);
  const std::int64_t all = memory_of_step(layers(8, "--fp64")).peak;
  const std::int64_t each = memory_of_step(layers(8, fmt::format("--fp64 {} 1", kFull))).peak;
  const std::int64_t pairs = memory_of_step(layers(8, fmt::format("--fp64 {} 2", kFull))).peak;
  const std::int64_t half = memory_of_step(layers(8, kBlock)).peak;
  print_line("| peak of 8 layers in bytes: all kept {}, block 4 {}, uniform 2 {}, uniform 1 {}", all, half, pairs,
             each);
  // While a segment runs again, its output and the gradient of that are there as well.
  EXPECT_LE(each, all - 7 * (layer - input) + 2 * input);
  EXPECT_LE(pairs, all - 6 * layer + 4 * input + 2 * input);
  EXPECT_LE(half, all - 4 * (layer - input));
}

}  // namespace
}  // namespace ringtron

// The operations that the throughput is made of are those that a step executes: its matrix products are counted as they
// are called, its attention cells by walking the mask.
#include <gmock/gmock.h>
#include <torch/library.h>

#include "ringtron/modules/layer_options.h"
#include "ringtron/train/batch_shape.h"
#include "tests/train/toy_training.h"

namespace ringtron::testing {
namespace {

std::int64_t counted_operations = 0;

// 2 m n k of each product of two matrices. Attention's products are batched ("bmm" and the kernel of torch): not
// counted.
void count_product(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  const std::string& name = op.schema().name();
  const bool added = name == "aten::addmm" || name == "aten::addmm_";
  if (added || name == "aten::mm") {
    const std::size_t first = stack->size() - op.schema().arguments().size() + (added ? 1 : 0);
    const at::Tensor a = (*stack)[first].toTensor(), b = (*stack)[first + 1].toTensor();
    counted_operations += 2 * a.size(0) * a.size(1) * b.size(1);
  }
  const c10::DispatchKeySet below(c10::DispatchKeySet::FULL_AFTER, c10::DispatchKey::TESTING_ONLY_GenericMode);
  op.redispatchBoxed(keys & below, stack);
}

TORCH_LIBRARY_IMPL(_, TESTING_ONLY_GenericMode, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&count_product>());
}

// Sees every operator that this thread calls, in the backward pass too, which runs on the caller's thread on a CPU.
class CountedProducts {
 public:
  CountedProducts() { counted_operations = 0; }
  double operations() const { return static_cast<double>(counted_operations); }

 private:
  c10::impl::IncludeDispatchKeyGuard counting_{c10::DispatchKey::TESTING_ONLY_GenericMode};
};

// (query, key) pairs of one sample, one by one: no later key, none outside the window, none of another document.
std::int64_t walked_cells(const Config& config, const std::vector<std::int64_t>& starts) {
  const AttentionWindow window = attention_window(config.model);
  std::vector<int> document(static_cast<std::size_t>(config.model.seq_length), 0);
  for (const std::int64_t start : starts) {
    for (std::size_t i = static_cast<std::size_t>(start); i < document.size(); ++i) ++document[i];
  }
  std::int64_t cells = 0;
  for (std::int64_t q = 0; q < config.model.seq_length; ++q) {
    for (std::int64_t k = 0; k <= q; ++k) {
      const bool near = window.left < 0 || q - k <= window.left;
      if (near && document[static_cast<std::size_t>(q)] == document[static_cast<std::size_t>(k)]) ++cells;
    }
  }
  return cells;
}

// Documents of the samples of the first batch, from the tokens that the loader reads.
std::int64_t walked_cells_of_batch(ToyTraining& run) {
  const Config& config = run.job().config();
  if (!config.data.reset_attention_mask) return config.batch.global_batch_size * walked_cells(config, {});
  const auto loader = run.loader();
  std::int64_t cells = 0;
  for (int i = 0; i < config.batch.global_batch_size / config.batch.micro_batch_size; ++i) {
    const MicroBatch batch = loader->next();
    const std::int64_t length = config.model.seq_length;
    for (int sample = 0; sample < config.batch.micro_batch_size; ++sample) {
      std::vector<std::int64_t> starts;
      for (std::int64_t p = 0; p + 1 < length; ++p) {
        if (batch.tokens[static_cast<std::size_t>(sample * length + p)] == kVocabulary - 1) starts.push_back(p + 1);
      }
      cells += walked_cells(config, starts);
    }
  }
  return cells;
}

// Forward and backward of attention: two products forward, four backward, over every cell and head.
double attention_operations(const ModelConfig& m, std::int64_t cells) {
  return 12.0 * m.num_layers * m.num_attention_heads * m.kv_channels * static_cast<double>(cells);
}

class StepFlops : public ::testing::TestWithParam<const char*> {};

TEST_P(StepFlops, AreTheOperationsOfAStep) {
  TempDir folder;
  write_toy_corpus((folder / "corpus").string());
  ToyTraining run(toy_config({}, (folder / "corpus").string(), GetParam()));
  const Config& config = run.job().config();
  const double cells = static_cast<double>(walked_cells_of_batch(run));
  const auto loader = run.loader();
  double products = 0;
  StepResult result;
  {
    const CountedProducts counted;
    result = run.parts().step().run(*loader);
    products = counted.operations();
  }
  const double executed = products + attention_operations(config.model, static_cast<std::int64_t>(cells));
  const double told = result.attention_cells.defined()
                          ? step_flops(run.job().config(), result.attention_cells.item<double>())
                          : step_flops(run.job().config());
  EXPECT_DOUBLE_EQ(told, executed);
  // What the kernels of attention were given: forward and backward, over heads and layers.
  std::int64_t attended = 0;
  for (const auto& [number, layer] : run.parts().attention().proof().layers()) attended += layer.done.cells;
  EXPECT_EQ(attended, 2.0 * config.model.num_layers * config.model.num_attention_heads * cells);
  EXPECT_GT(products, 0);
}

const char* const kConfigurations[] = {
    "",
    kGptLike,
    kLlamaLike,
    "--untie-embeddings-and-output-weights",
    "--vocab-size 4001 --make-vocab-size-divisible-by 128",
    "--padded-vocab-size 600",
    "--num-attention-heads 4 --kv-channels 16",  // wider than the model
    "--num-attention-heads 2 --kv-channels 4",   // narrower
    "--group-query-attention --num-query-groups 2",
    "--group-query-attention --num-query-groups 1",
    "--swiglu",
    "--swiglu --ffn-hidden-size 40",
    "--squared-relu --ffn-hidden-size 24",
    "--disable-bias-linear",
    "--disable-bias-linear --add-qkv-bias",
    "--num-layers 1",
    "--num-layers 5 --hidden-size 64",
    "--seq-length 128 --max-position-embeddings 128",
    "--micro-batch-size 4",
    "--global-batch-size 2",
    "--window-size 4,0",
    "--window-size 1,0 --softmax-type learnable",
    "--reset-attention-mask",
    "--reset-attention-mask --window-size 3,0 --micro-batch-size 2",
    "--reset-attention-mask --reset-position-ids --swiglu --position-embedding-type rope",
    "--bf16",
    "--position-embedding-type rope --rotary-percent 0.5",
    "--hidden-dropout 0 --attention-dropout 0",
};

INSTANTIATE_TEST_SUITE_P(Configurations, StepFlops, ::testing::ValuesIn(kConfigurations));

TEST(StepFlopsOf, RecomputedLayersCountOnce) {
  TempDir folder;
  write_toy_corpus((folder / "corpus").string());
  const auto told = [&](const std::string& flags) {
    return step_flops(ToyTraining(toy_config({}, (folder / "corpus").string(), flags)).job().config());
  };
  EXPECT_EQ(told("--recompute-granularity full --recompute-method uniform --recompute-num-layers 1"), told(""));
}

}  // namespace
}  // namespace ringtron::testing

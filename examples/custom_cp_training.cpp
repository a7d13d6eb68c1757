// A training program of one's own with context parallelism: dataset, configuration by code, model, forward step, loop,
// schedule, checkpoints and a log per epoch. A Megatron Core script with the same parts has to get right what stands at
// the numbers below.
//
//   ringrun --nproc-per-node 4 custom_cp_training --context-parallel-size 2 --tensor-model-parallel-size 2
//
// The flags are those of pretrain_gpt; they win over defaults() below.
#include <ATen/ops/zeros.h>  // the whole ATen/ATen.h takes ten seconds to compile

#include <algorithm>
#include <cstdio>
#include <string>

#include "ringtron/ringtron.h"

using namespace ringtron;

namespace {

constexpr int kEpochs = 3, kVocabulary = 500;
constexpr std::int64_t kSamples = 160;

// Sample i counts upwards from a place and by a step of its own.
// (1) A pure function of the number: ranks that share a sample must read the same, and a resumed run what it would have
// read. Random numbers drawn at access are neither. (2) Only real token ids, without those that pad the vocabulary.
class CountingText : public Dataset {
 public:
  explicit CountingText(std::int64_t length) : length_(length) {}
  std::int64_t size() const override { return kSamples; }
  std::int64_t sequence_length() const override { return length_; }
  // (3) A sample has one token more than the sequence: labels are the tokens after each position. Labels that are the
  // tokens themselves teach copying.
  void read(std::int64_t sample, std::int64_t first, std::int64_t count, std::int32_t* out) const override {
    const std::int64_t start = sample * 7919, step = 1 + sample % 3;
    for (std::int64_t i = 0; i < count; ++i)
      out[i] = static_cast<std::int32_t>((start + (first + i) * step) % kVocabulary);
  }

 private:
  std::int64_t length_;
};

Config defaults() {
  Config c;
  c.model.num_layers = 2;
  c.model.hidden_size = 64;
  c.model.num_attention_heads = 4;
  c.model.seq_length = c.model.max_position_embeddings = 128;
  c.model.normalization = Normalization::rms_norm;
  c.model.apply_layernorm_1p = c.model.swiglu = true;
  c.model.add_bias_linear = false;
  c.model.position_embedding_type = PositionEmbedding::rope;
  c.precision.hidden_dropout = c.precision.attention_dropout = 0.0;  // (4) 0.1 unless it is said
  c.data.tokenizer_type = TokenizerType::null;
  c.data.vocab_size = kVocabulary;
  c.data.dataloader_type = DataloaderType::cyclic;  // (5) another order in every epoch
  c.batch.micro_batch_size = 2;
  c.batch.global_batch_size = 8;  // (6) with gradients summed over the micro-batches of a step
  c.optimizer.lr = 3e-3;
  c.optimizer.min_lr = 3e-4;  // (7) the cosine ends here, not at 0
  c.optimizer.lr_decay_style = LrDecayStyle::cosine;
  c.optimizer.lr_warmup_fraction = 0.1;
  c.optimizer.weight_decay = 0.1;  // (8) not on norms and biases; with --bf16 on fp32 main weights
  c.optimizer.adam_beta2 = 0.95;
  c.logging.log_interval = 5;
  return c;
}

// From the last layer's hidden states to the loss of this rank's tokens.
// (9) Logits are divided over the tensor ranks: a softmax of each part is wrong, and without tensor parallelism there
// is a loss too. (10) Positions of this context rank alone: batch and labels are divided as the layout says.
TokenLosses forward_step(const Stage& stage, const at::Tensor& hidden, const DeviceBatch& batch) {
  return stage.loss(hidden, batch.input, batch.loss_mask);
}

void train(Program& program) {
  Config config = program.flags_over(defaults());
  const std::int64_t steps = kSamples / std::max(config.batch.global_batch_size, 1);  // of an epoch
  config.batch.train_iters = kEpochs * steps;                                         // the schedule's end
  if (!config.checkpoint.save.empty()) config.checkpoint.save_interval = steps;
  Training training(program, config, {.loss = forward_step});  // and goes on from --load
  const ParallelState& parallel = training.parallel();
  training.print("TP " + std::to_string(parallel.tp_size()) + ", CP " + std::to_string(parallel.cp_size()) + ", DP " +
                 std::to_string(parallel.dp_size()) + ", from step " + std::to_string(training.iteration()));
  const CountingText dataset(config.model.seq_length);
  training.read(dataset);

  char line[160];
  while (training.iteration() < kEpochs * steps) {
    const std::int64_t epoch = training.iteration() / steps;
    at::Tensor sum = at::zeros({}, at::TensorOptions(training.device()).dtype(at::kDouble));
    std::int64_t count = 0;
    while (training.iteration() < (epoch + 1) * steps) {
      if (!training.ready()) return training.save();  // a signal: the next start goes on from here
      // (11) Gradients are summed over data and context ranks, and those of norms under sequence parallelism over the
      // tensor ranks; (12) one norm of the whole model clips them; (13) the loss is that of the whole global batch.
      const double lr = training.lr();
      const StepResult result = training.step();
      sum += result.loss;  // on the device: nothing waits for it
      ++count;
      if (training.iteration() % config.logging.log_interval != 0) continue;
      std::snprintf(line, sizeof line, "epoch %d, step %d, loss %.6f, lr %.6f", static_cast<int>(epoch + 1),
                    static_cast<int>(training.iteration()), result.loss.item<double>(), lr);
      training.print(line);
    }
    std::snprintf(line, sizeof line, "epoch %d of %d: mean loss %.6f", static_cast<int>(epoch + 1), kEpochs,
                  sum.item<double>() / static_cast<double>(count));
    training.print(line);
    training.save();  // (14) every rank's part, moments and schedule too; it loads into any other layout
  }
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, train); }

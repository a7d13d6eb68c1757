// A training run small enough to be done in many layouts: its corpus, its flags, its job, and its tensors as
// one process would hold them.
#pragma once

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ringtron/base/text.h"
#include "ringtron/config/parse.h"
#include "ringtron/data/indexed_dataset_writer.h"
#include "ringtron/tools/faults/faulty_attention.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/assembly.h"
#include "ringtron/train/training_data.h"
#include "ringtron/train/whole_tensor.h"
#include "tests/support/multi_rank.h"
#include "tests/support/temp_dir.h"

namespace ringtron::testing {

inline constexpr int kVocabulary = 61;  // the last id ends a document
inline constexpr int kGlobalBatch = 8;
inline constexpr int kSteps = 5;

// Documents of 1 to 40 tokens, so that --eod-mask-loss leaves each chunk of each sample another number of
// tokens.
inline void write_toy_corpus(const std::string& prefix) {
  IndexedDatasetWriter writer(prefix, TokenType::u16);
  for (std::int64_t d = 0; d < 200; ++d) {
    std::vector<std::int32_t> tokens;
    for (std::int64_t p = 0; p < (d * 7919) % 40; ++p) {
      tokens.push_back(static_cast<std::int32_t>((d * 31 + p * (1 + d % 5)) % (kVocabulary - 1)));
    }
    tokens.push_back(kVocabulary - 1);
    writer.add_sequence(tokens);
    writer.end_document();
  }
  writer.finish();
}

// Which ranks, and how they share the work. All ranks that there are beside TP and CP are data parallel.
struct Layout {
  int tp = 1, cp = 1, dp = 1;
  bool sequence_parallel = false;
  int micro_batch = 1;
  bool distributed_optimizer = false;
  int pp = 1;

  int ranks() const { return tp * cp * dp * pp; }
  std::string text() const {
    return fmt::format("TP={} SP={} CP={} DP={} PP={} micro-batch={}{}", tp, sequence_parallel ? "on " : "off", cp, dp,
                       pp, micro_batch, distributed_optimizer ? " distributed optimizer" : "");
  }
};

// RMSNorm, SwiGLU, grouped queries, rotary positions, no biases, an output layer of its own.
inline constexpr const char* kLlamaLike =
    "--normalization RMSNorm --swiglu --ffn-hidden-size 48 --group-query-attention --num-query-groups 8 "
    "--position-embedding-type rope --disable-bias-linear --untie-embeddings-and-output-weights";
// LayerNorm, GELU, biases, learned positions, q and k normalised, embeddings tied.
inline constexpr const char* kGptLike = "--qk-layernorm --ffn-hidden-size 64";

// `flags` come last: of a flag given twice the last counts. fp64 unless they hold --bf16 or --fp16.
inline Config toy_config(const Layout& layout, const std::string& corpus, const std::string& flags) {
  std::string line = fmt::format(
      "--num-layers 2 --hidden-size 32 --num-attention-heads 16 --kv-channels 4 --seq-length 32 "
      "--max-position-embeddings 32 --make-vocab-size-divisible-by 2 --tokenizer-type NullTokenizer "
      "--vocab-size {} "
      "--data-path {} --split 90,10,0 --eod-mask-loss {} --global-batch-size {} --train-iters {} --lr 0.01 "
      "--min-lr 0.001 --lr-decay-style cosine --lr-warmup-iters 2 --clip-grad 0.5 --init-method-std 0.1 "
      "--hidden-dropout 0.1 --attention-dropout 0.1 --eval-iters 0 --distributed-backend gloo "
      "--tensor-model-parallel-size {} --context-parallel-size {} --pipeline-model-parallel-size {} "
      "--micro-batch-size {}{}{} {}",
      kVocabulary, corpus,
      flags.find("--bf16") == std::string::npos && flags.find("--fp16") == std::string::npos ? "--fp64" : "",
      kGlobalBatch, kSteps, layout.tp, layout.cp, layout.pp, layout.micro_batch,
      layout.sequence_parallel ? " --sequence-parallel" : "",
      layout.distributed_optimizer ? " --use-distributed-optimizer" : "", flags);
  std::vector<std::string> words;
  for (std::string& word : split(line, ' ')) {
    if (!word.empty()) words.push_back(std::move(word));
  }
  return std::get<CommandLine>(parse_command_line(words, layout.ranks())).config;
}

// Rank 0's folder with the corpus in it, for all ranks of a test.
class SharedFolder {
 public:
  explicit SharedFolder(RankContext& ranks) {
    if (ranks.rank() == 0) {
      own_ = std::make_unique<TempDir>();
      write_toy_corpus((own_->path() / "corpus").string());
    }
    path_ = gather_texts(ranks.world(), own_ ? own_->path().string() : "")[0];
  }
  std::string corpus() const { return path_ + "/corpus"; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::unique_ptr<TempDir> own_;
  std::string path_;
};

// Name to tensor of the whole model, without padding.
using LogicalTensors = std::map<std::string, at::Tensor>;

// Attention with a fault in one layer; -1: in all.
inline MakeAttention faulty(CpFault fault, int layer = -1) {
  return [fault, layer](Communicator& group, SequenceLayout layout, const CpAttentionOptions& options) {
    return make_faulty_attention(group, std::move(layout), options, fault, layer);
  };
}

class ToyTraining {
 public:
  // On all ranks of the test; `number` is another one for each run of one test. Collective.
  ToyTraining(RankContext& ranks, int number, const Config& config, const MakeAttention& attention = make_cp_attention,
              InitialValues values = InitialValues::drawn)
      : ToyTraining(config, environment(ranks), rendezvous(ranks.options(), number), attention, values) {}

  // In this process alone.
  explicit ToyTraining(const Config& config)
      : ToyTraining(config, LaunchEnvironment{}, nullptr, make_cp_attention, InitialValues::drawn) {}

  const Job& job() const { return job_; }
  Assembly& parts() { return assembly_; }
  TrainingState& state() { return assembly_.state(); }
  const TrainingData& data() const { return data_; }
  std::unique_ptr<DataLoader> loader() { return data_.loader(Split::train, state().progress.consumed_train_samples); }

  LogicalTensors gradients(const at::Tensor& scale) {
    return gather([&](OptimizerState& s) { return s.part_of(s.parameter->gradient) * scale; });
  }
  LogicalTensors weights() {
    return gather([](OptimizerState& s) { return s.part_of(s.parameter->value.detach()); });
  }
  LogicalTensors main_weights() {
    return gather([](OptimizerState& s) { return s.main(); });
  }
  LogicalTensors first_moments() {
    return gather([](OptimizerState& s) { return s.exp_avg; });
  }
  LogicalTensors second_moments() {
    // Zeros where there are none.
    return gather([](OptimizerState& s) { return s.exp_avg_sq.defined() ? s.exp_avg_sq : at::zeros_like(s.exp_avg); });
  }

 private:
  ToyTraining(const Config& config, LaunchEnvironment environment, std::unique_ptr<Rendezvous> rendezvous,
              const MakeAttention& attention, InitialValues values)
      : job_(config, std::move(environment), std::move(rendezvous)),
        assembly_(job_, attention, values),
        data_(job_, assembly_.transports()) {}

  static LaunchEnvironment environment(const RankContext& ranks) {
    LaunchEnvironment out;
    out.rank = out.local_rank = ranks.rank();
    out.world_size = out.local_world_size = ranks.size();
    return out;
  }
  static std::unique_ptr<Rendezvous> rendezvous(RendezvousOptions options, int number) {
    options.prefix += fmt::format("_run{}", number);
    return std::make_unique<Rendezvous>(options);
  }

  // Of the owners' parts the tensor of the parameter's shape: each element has one owner, so the sum is exact.
  at::Tensor joined(const Parameter& parameter, const OptimizerState* own, const at::Tensor& part) {
    at::Tensor sum = at::zeros(parameter.value.sizes(), at::kDouble);
    if (own != nullptr) own->part_of(sum).copy_(part);
    job_.parallel().data_context().all_reduce(sum).wait();
    const at::ScalarType type = part.defined() ? part.scalar_type() : at::kByte;  // of no part: the smallest code
    at::Tensor code = at::full({}, static_cast<std::int64_t>(type), at::kLong);
    job_.parallel().data_context().all_reduce(code, ReduceOp::max).wait();
    return sum.to(static_cast<at::ScalarType>(code.item<std::int64_t>()));
  }

  template <class Pick>
  LogicalTensors gather(Pick pick) {
    const at::NoGradGuard no_grad;
    LogicalTensors out;
    LogicalTensors copies;
    std::map<const Parameter*, OptimizerState*> owned;
    for (OptimizerState& s : state().optimizer.states()) owned[s.parameter] = &s;
    const bool sharded = job_.config()->parallel.use_distributed_optimizer;
    for (Parameter* parameter : state().store.all()) {
      const auto own = owned.find(parameter);
      at::Tensor local;
      if (own != owned.end()) local = pick(*own->second);
      if (sharded) local = joined(*parameter, own == owned.end() ? nullptr : own->second, local);
      (parameter->is_copy ? copies : out)[parameter->name] = whole_tensor(*parameter, local, job_.parallel());
    }
    if (job_.parallel().pp_size() > 1) out = of_all_stages(out);
    for (const auto& [name, copy] : copies) EXPECT_TRUE(copy.equal(out.at(name))) << name << " on two stages";
    return out;
  }

  // The tensors of the ranks of a pipeline together, on each of them.
  LogicalTensors of_all_stages(const LogicalTensors& own) {
    Communicator& line = job_.parallel().group(Axis::pipeline);
    std::string names;
    for (const auto& [name, tensor] : own) names += fmt::format("{} {}\n", name, fmt::join(tensor.sizes(), " "));
    const std::vector<std::string> of_ranks = gather_texts(line, names);
    LogicalTensors all;
    for (int rank = 0; rank < line.size(); ++rank) {
      for (const std::string& entry : split(of_ranks[static_cast<std::size_t>(rank)], '\n')) {
        std::vector<std::string> words = split(entry, ' ');
        if (words.size() < 2) continue;
        std::vector<std::int64_t> sizes;
        for (std::size_t i = 1; i < words.size(); ++i) sizes.push_back(std::stoll(words[i]));
        at::Tensor& tensor = all[words[0]];
        tensor = rank == line.rank() ? own.at(words[0]).contiguous() : at::empty(sizes, own.begin()->second.options());
        line.broadcast(tensor, rank).wait();
      }
    }
    return all;
  }

  Job job_;
  Assembly assembly_;
  TrainingData data_;
};

}  // namespace ringtron::testing

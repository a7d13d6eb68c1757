#include "ringtron/models/memory_estimate.h"

#include <fmt/format.h>

#include <algorithm>

#include "ringtron/base/text.h"
#include "ringtron/models/model_spec.h"

namespace ringtron {
namespace {

std::string amount(std::int64_t bytes) { return human_bytes(static_cast<std::uint64_t>(bytes)); }

// Positions of a sample on the rank that has most.
std::int64_t rows_of(const ResolvedConfig& config) {
  const std::int64_t ranks = config->parallel.context_parallel_size;
  return (config->model.seq_length + ranks - 1) / ranks;
}

class Savings {
 public:
  explicit Savings(const ResolvedConfig& config) : config_(config), now_(estimate_memory(config)) {}

  std::vector<MemorySaving> all() {
    const ParallelConfig& p = config_->parallel;
    const ModelConfig& m = config_->model;
    if (!p.use_distributed_optimizer && config_.data_parallel_size() * p.context_parallel_size > 1) {
      add("--use-distributed-optimizer", 1, [](Config& c) { c.parallel.use_distributed_optimizer = true; });
    }
    if (config_->recompute.granularity != RecomputeGranularity::full) {
      add("--recompute-granularity full --recompute-method uniform --recompute-num-layers 1", 1, [](Config& c) {
        c.recompute = {};
        c.recompute.granularity = RecomputeGranularity::full;
        c.recompute.method = RecomputeMethod::uniform;
        c.recompute.num_layers = 1;
      });
    }
    if (p.pipeline_model_parallel_size > 1 && p.pipeline_schedule != PipelineScheduleKind::one_forward_one_backward) {
      add("--pipeline-schedule 1F1B", 1,
          [](Config& c) { c.parallel.pipeline_schedule = PipelineScheduleKind::one_forward_one_backward; });
    }
    if (config_->batch.micro_batch_size > 1) {
      add("--micro-batch-size 1", 1, [](Config& c) {
        // Without a size of its own an evaluation has training's.
        if (c.evaluation.eval_micro_batch_size == c.batch.micro_batch_size) c.evaluation.eval_micro_batch_size = 1;
        c.batch.micro_batch_size = 1;
      });
    }
    if (p.tensor_model_parallel_size > 1 && !p.sequence_parallel) {
      add("--sequence-parallel", 1, [](Config& c) { c.parallel.sequence_parallel = true; });
    }
    add_evaluation();
    const PrecisionConfig& type = config_->precision;
    if (!type.bf16) {
      const char* flags = type.fp64 ? "--bf16 instead of --fp64" : type.fp16 ? "--bf16 instead of --fp16" : "--bf16";
      add(flags, 1, [](Config& c) {
        c.precision.fp64 = c.precision.fp16 = false;
        c.precision.bf16 = true;
      });
    }
    for (int times = 2; times <= 64 && std::int64_t{p.context_parallel_size} * times <= m.seq_length; times *= 2) {
      const int size = p.context_parallel_size * times;
      if (p.cp_comm_type.size() == 1 && p.hierarchical_context_parallel_sizes.empty()) {
        add(fmt::format("--context-parallel-size {}", size), times,
            [size](Config& c) { c.parallel.context_parallel_size = size; });
      }
    }
    for (int times = 2; times <= 64; times *= 2) {
      const std::int64_t size = std::int64_t{p.tensor_model_parallel_size} * times;
      if (m.num_attention_heads % size != 0 || m.num_query_groups % size != 0 || m.ffn_hidden_size % size != 0 ||
          m.padded_vocab_size % size != 0) {
        break;
      }
      add(fmt::format("--tensor-model-parallel-size {}{}", size, p.sequence_parallel ? "" : " --sequence-parallel"),
          times, [size](Config& c) {
            c.parallel.tensor_model_parallel_size = static_cast<int>(size);
            c.parallel.sequence_parallel = true;
          });
    }
    return std::move(savings_);
  }

 private:
  // Training's size, where evaluations divide into such micro-batches.
  void add_evaluation() {
    const EvaluationConfig& evaluation = config_->evaluation;
    const int micro = config_->batch.micro_batch_size;
    if (now_.activations.evaluation > now_.activations.of_training() &&
        evaluation.eval_global_batch_size % (std::int64_t{micro} * std::max(1, config_.data_parallel_size())) == 0) {
      add(fmt::format("--eval-micro-batch-size {}", micro), 1,
          [micro](Config& c) { c.evaluation.eval_micro_batch_size = micro; });
    }
  }

  template <class Change>
  void add(std::string flags, int times_ranks, Change change) {
    Config changed = config_;
    change(changed);
    const std::int64_t ranks = std::int64_t{config_.world_size()} * times_ranks;
    if (ranks > (1 << 20)) return;
    const MemoryEstimate estimate =
        estimate_memory(resolve(changed, static_cast<int>(ranks), config_->data.vocab_size).despite_faults());
    if (estimate.peak() < now_.peak()) savings_.push_back({std::move(flags), times_ranks, estimate});
  }

  const ResolvedConfig& config_;
  MemoryEstimate now_;
  std::vector<MemorySaving> savings_;
};

std::string text_of(const MemorySaving& saving) {
  const std::string ranks =
      saving.times_ranks > 1 ? fmt::format(", on {} times as many ranks", saving.times_ranks) : "";
  return fmt::format("{} ({}{})", saving.flags, amount(saving.estimate.peak()), ranks);
}

// The first word: of several sizes of one flag the smallest is enough.
std::string flag_of(const MemorySaving& saving) { return saving.flags.substr(0, saving.flags.find(' ')); }

}  // namespace

MemoryEstimate estimate_memory(const ResolvedConfig& config) {
  const int replicas = std::max(1, config.data_parallel_size()) * config->parallel.context_parallel_size;
  MemoryEstimate most;
  const ModelSpec model = model_spec(config);
  for (int rank = 0; rank < model.pipeline_ranks; ++rank) {
    const MemoryEstimate own{state_bytes(config, count_parameters(config, model, replicas, rank)),
                             activation_bytes(config, model, rows_of(config), rank), rank};
    if (rank == 0 || own.peak() > most.peak()) most = own;
  }
  return most;
}

std::string to_string(const MemoryEstimate& estimate) {
  const StateBytes& s = estimate.state;
  return fmt::format("weights {}, gradients {}, optimizer {}, activations {}", amount(s.weights), amount(s.gradients),
                     amount(s.main_weights + s.moments), amount(estimate.activations.peak()));
}

std::string evaluation_note(const ResolvedConfig& config, const MemoryEstimate& estimate) {
  const ActivationBytes& bytes = estimate.activations;
  if (bytes.evaluation <= bytes.of_training()) return "";
  return fmt::format("an evaluation takes more than a step, {}: --eval-micro-batch-size {}", amount(bytes.evaluation),
                     config->evaluation.eval_micro_batch_size);
}

std::vector<MemorySaving> memory_savings(const ResolvedConfig& config) { return Savings(config).all(); }

std::string memory_advice(const ResolvedConfig& config, std::int64_t available) {
  std::vector<MemorySaving> savings = memory_savings(config);
  // Weights that are too large are not made smaller by shorter sequences.
  const std::int64_t state = estimate_memory(config).state.sum();
  if (state > available) std::erase_if(savings, [&](const MemorySaving& s) { return s.estimate.state.sum() >= state; });
  std::vector<std::string> fitting, flags;
  for (const MemorySaving& saving : savings) {
    if (saving.estimate.peak() > available || std::ranges::count(flags, flag_of(saving)) > 0) continue;
    flags.push_back(flag_of(saving));
    fitting.push_back(text_of(saving));
  }
  if (!fitting.empty()) return join(fitting, ", or ");
  constexpr const char* kSmaller = "fewer --num-layers or a smaller --hidden-size";
  if (savings.empty()) return fmt::format("no other flag than {} helps", kSmaller);
  const auto least = std::ranges::min_element(savings, {}, [](const MemorySaving& s) { return s.estimate.peak(); });
  return fmt::format("{} helps most and is not enough: add others, or {}", text_of(*least), kSmaller);
}

}  // namespace ringtron

// Values that follow from others.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "ringtron/base/text.h"
#include "ringtron/choices/transport_words.h"
#include "ringtron/config/batch/batch_schedule.h"
#include "ringtron/config/validate.h"

namespace ringtron {
namespace {

constexpr int kMostLayers = 1 << 14;  // of more a rule tells

// Products of absurd flags stay ints; rules then report them.
int saturate(std::int64_t value) {
  return static_cast<int>(std::min<std::int64_t>(value, std::numeric_limits<int>::max()));
}

void fill_parallel(ParallelConfig& parallel, std::vector<Notice>& notices) {
  for (std::string& type : parallel.cp_comm_type) {
    if (const TransportWord* known = find_transport_word(type)) type = known->word;
  }
  if (parallel.microbatch_group_size_per_virtual_pipeline_stage == 0)
    parallel.microbatch_group_size_per_virtual_pipeline_stage = parallel.pipeline_model_parallel_size;
  if (parallel.sequence_parallel && parallel.tensor_model_parallel_size == 1) {
    parallel.sequence_parallel = false;
    notices.push_back({Notice::Kind::warning,
                       "--sequence-parallel is switched off: it cuts work within a tensor-parallel group, and "
                       "--tensor-model-parallel-size is 1"});
  }
}

// The bars of a hybrid pattern say which layers the stages of a pipeline have.
void fill_stages(ModelConfig& model, ParallelConfig& parallel) {
  std::string& pattern = model.hybrid_layer_pattern;
  if (pattern.find('|') == std::string::npos) return;
  if (parallel.pipeline_model_parallel_layout.empty()) {
    std::string layout = "E";
    for (const char letter : pattern) layout += letter == '|' ? '|' : 't';
    parallel.pipeline_model_parallel_layout = layout + "L";
  }
  std::erase(pattern, '|');
}

// The pattern of a hybrid model says how many layers there are.
void fill_hybrid(ModelConfig& model, ParallelConfig& parallel, std::vector<Notice>& notices) {
  if (!model.hybrid_override_pattern.empty()) {
    if (model.hybrid_layer_pattern.empty()) model.hybrid_layer_pattern = model.hybrid_override_pattern;
    model.hybrid_override_pattern.clear();
    notices.push_back(
        {Notice::Kind::note, "--hybrid-override-pattern is the older name of --hybrid-layer-pattern, which is set"});
  }
  fill_stages(model, parallel);
  if (!model.spec.empty()) model.is_hybrid_model = true;
  const auto letters = static_cast<int>(model.hybrid_layer_pattern.size());
  if (letters > 0) {
    if (model.num_layers != 0 && model.num_layers != letters) {
      notices.push_back({Notice::Kind::warning, fmt::format("--num-layers {} has no effect: --hybrid-layer-pattern has "
                                                            "{} letters, as many layers are built",
                                                            model.num_layers, letters)});
    }
    model.num_layers = letters;
    model.is_hybrid_model = true;
  } else if (model.is_hybrid_model && model.num_layers > 0 && model.num_layers <= kMostLayers) {
    model.hybrid_layer_pattern = std::string(static_cast<std::size_t>(model.num_layers), 'M');
  }
  if (model.is_hybrid_model && model.mamba_num_heads == 0 && model.mamba_head_dim > 0) {
    model.mamba_num_heads = saturate(2LL * model.hidden_size / model.mamba_head_dim);
  }
}

void fill_model(ModelConfig& model) {
  if (model.ffn_hidden_size == 0) {
    const std::int64_t h = model.hidden_size;
    model.ffn_hidden_size = saturate(model.swiglu ? h * 8 / 3 / 64 * 64 : 4 * h);
  }
  if (model.kv_channels == 0 && model.num_attention_heads > 0) {
    model.kv_channels = model.hidden_size / model.num_attention_heads;
  }
  if (!model.group_query_attention) model.num_query_groups = model.num_attention_heads;
  if (model.use_rotary_position_embeddings && !model.is_rotary())
    model.position_embedding_type = PositionEmbedding::rope;
  if (model.rope_type == RopeType::yarn && model.position_embedding_type == PositionEmbedding::rope)
    model.position_embedding_type = PositionEmbedding::yarn;
  if (model.rope_type.has_value() && model.is_rotary() &&
      (model.rope_type == RopeType::yarn) == (model.position_embedding_type == PositionEmbedding::yarn))
    model.rope_type.reset();
  if (model.add_bias_linear) model.add_qkv_bias = true;
}

void fill_training(Config& config, int world_size, std::vector<Notice>& notices) {
  BatchConfig& batch = config.batch;
  if (!batch.step_batch_size_schedule.empty()) {
    const auto result = try_batch_schedule(batch, config.model.seq_length);
    if (const auto* schedule = std::get_if<BatchSchedule>(&result))
      batch.global_batch_size = saturate(schedule->parts().back().batch);
  }
  if (batch.global_batch_size == 0) {
    const std::int64_t replicas = data_parallel_size(config.parallel, world_size);
    batch.global_batch_size = saturate(batch.micro_batch_size * replicas);
    if (batch.global_batch_size > 0) {
      notices.push_back({Notice::Kind::note, fmt::format("setting global batch size to {}", batch.global_batch_size)});
    }
  }
  EvaluationConfig& evaluation = config.evaluation;
  if (evaluation.eval_micro_batch_size == 0) evaluation.eval_micro_batch_size = batch.micro_batch_size;
  if (evaluation.eval_global_batch_size == 0) evaluation.eval_global_batch_size = batch.global_batch_size;
  OptimizerConfig& optimizer = config.optimizer;
  if (optimizer.lr_decay_iters == 0) optimizer.lr_decay_iters = batch.train_iters;
  if (optimizer.lr_decay_samples == 0) optimizer.lr_decay_samples = batch.train_samples;
  PrecisionConfig& precision = config.precision;
  if (precision.is_half()) precision.accumulate_allreduce_grads_in_fp32 = true;
  if (precision.has_dynamic_loss_scale()) precision.check_for_nan_in_loss_and_grad = false;  // an overflow is no fault
  if (!config.precision.bf16) config.precision.grad_reduce_in_bf16 = false;
  if (batch.skip_train) {
    config.checkpoint.no_load_optim = true;
    // No schedule of this command line counts, so it does not have to be the checkpoint's.
    optimizer.use_checkpoint_opt_param_scheduler = true;
    optimizer.override_opt_param_scheduler = false;
  }
}

// What was given but does nothing is set back, so that listings show what runs; needs.h tells of it.
void fill_recompute(RecomputeConfig& recompute, int context_ranks, std::vector<Notice>& notices) {
  const auto warn = [&](std::string_view text) { notices.push_back({Notice::Kind::warning, std::string(text)}); };
  if (recompute.ckpt_activations) {
    warn("--ckpt-activations is no flag of Megatron-LM; it is read as --recompute-activations");
    recompute.activations = true;
    recompute.ckpt_activations = false;
  }
  if (recompute.activations && !recompute.granularity) recompute.granularity = RecomputeGranularity::selective;
  const bool none = !recompute.granularity;
  if (none) {
    recompute.method.reset();
    recompute.num_layers = 0;
    recompute.modules.clear();
  }
  if (recompute.granularity == RecomputeGranularity::full) recompute.modules.clear();
  if (recompute.granularity == RecomputeGranularity::selective && recompute.modules.empty())
    recompute.modules = {"core_attn"};
  const bool keeps_attention = none || (recompute.granularity == RecomputeGranularity::selective &&
                                        std::ranges::count(recompute.modules, "core_attn") == 0);
  if (recompute.cp_keep_kv && (keeps_attention || context_ranks == 1)) {
    warn(none ? "--cp-keep-kv is switched off: attention is recomputed with --recompute-granularity only"
         : keeps_attention
             ? "--cp-keep-kv is switched off: --recompute-modules without core_attn recomputes no attention"
             : "--cp-keep-kv is switched off: nothing comes from other ranks, --context-parallel-size is 1");
    recompute.cp_keep_kv = false;
  }
}

void fill_data(DataConfig& data, std::vector<Notice>& notices) {
  std::erase_if(data.split, [](char c) { return c == '\'' || c == '"'; });  // of scripts that quote twice
  if (data.data_path.empty() && data.train_data_path.empty() && data.valid_data_path.empty() &&
      data.test_data_path.empty() && !data.mock_data) {
    data.mock_data = true;
    notices.push_back({Notice::Kind::warning,
                       "no data is given: the run trains on made-up tokens (--mock-data), as Megatron-LM's does. Give "
                       "--data-path PREFIX for a real one"});
  }
  if (!data.split.empty() || data.data_path.empty()) return;
  data.split = "969, 30, 1";
  notices.push_back({Notice::Kind::warning, "--split is not given; the data is cut 969, 30, 1"});
}

// What leaves a run little or nothing to do. That the data has no part to evaluate on is known only when it is open
// (train/trainer.cpp).
void note_nothing_to_do(const Config& given, std::vector<Notice>& notices) {
  if (!given.batch.skip_train) return;
  if (given.checkpoint.load.empty()) {
    notices.push_back(
        {Notice::Kind::warning, "--skip-train without --load evaluates weights that are drawn from the seed"});
  }
  if (given.evaluation.is_on()) return;
  notices.push_back({Notice::Kind::warning,
                     "--skip-train with --eval-iters 0: nothing is trained and nothing is evaluated. Raise "
                     "--eval-iters, or leave out --skip-train"});
}

// Its steps are not counted here.
bool changes(const BatchConfig& batch) {
  return !batch.rampup_batch_size.empty() || !batch.step_batch_size_schedule.empty();
}

// A decay that ends before the run does, with nothing left: such steps train nothing.
void note_no_learning_rate(const Config& filled, std::vector<Notice>& notices) {
  const OptimizerConfig& o = filled.optimizer;
  const BatchConfig& batch = filled.batch;
  if (batch.skip_train || o.min_lr > 0 || o.lr_decay_style == LrDecayStyle::constant ||
      o.use_checkpoint_opt_param_scheduler)
    return;
  if (batch.global_batch_size < 1 || changes(batch)) return;
  const bool samples = batch.train_samples > 0;
  const std::int64_t steps = samples ? batch.train_samples / batch.global_batch_size : batch.train_iters;
  // The rate of a step follows from the samples before it; at the end of the decay all shapes but this one are at their
  // lowest.
  const std::int64_t beyond = o.lr_decay_style == LrDecayStyle::inverse_square_root ? 1 : 0;
  const std::int64_t decay = samples ? o.lr_decay_samples / batch.global_batch_size : o.lr_decay_iters;
  if (decay < 1 || decay >= steps) return;
  const std::int64_t before = decay + (samples && o.lr_decay_samples % batch.global_batch_size != 0 ? 1 : beyond);
  if (before >= steps) return;
  notices.push_back(
      {Notice::Kind::warning,
       fmt::format(
           "from iteration {} on the learning rate is 0 (--min-lr), and the run has {}: these steps train nothing. "
           "Raise {} or --min-lr",
           before + 1, steps, samples ? "--lr-decay-samples" : "--lr-decay-iters")});
}

// A corpus that is named twice counts twice.
void note_repeated_corpora(const DataConfig& data, std::vector<Notice>& notices) {
  const std::pair<std::string_view, const std::vector<std::string>*> lists[] = {
      {"--data-path", &data.data_path},
      {"--train-data-path", &data.train_data_path},
      {"--valid-data-path", &data.valid_data_path},
      {"--test-data-path", &data.test_data_path}};
  for (const auto& [flag, words] : lists) {
    std::set<std::filesystem::path> seen, told;
    for (const std::string& word : *words) {
      if (word.find_first_not_of("0123456789.eE+-") == std::string::npos) continue;  // a weight
      const auto prefix = std::filesystem::path(word).lexically_normal();
      if (seen.insert(prefix).second || !told.insert(prefix).second) continue;
      notices.push_back(
          {Notice::Kind::warning, fmt::format("{} names {} more than once: its documents are read that much more often",
                                              flag, excerpt(word))});
    }
  }
}

void note_incomplete_batch(const BatchConfig& batch, std::vector<Notice>& notices) {
  if (batch.skip_train || batch.global_batch_size < 1 || batch.train_samples < batch.global_batch_size) return;
  const std::int64_t rest = batch.train_samples % batch.global_batch_size;
  if (rest == 0 || changes(batch)) return;
  notices.push_back({Notice::Kind::note,
                     fmt::format("--train-samples {}: the last {} fill no global batch of {} and are not trained on",
                                 batch.train_samples, rest, batch.global_batch_size)});
}

}  // namespace

FilledConfig fill_defaults(const Config& config, int world_size) {
  FilledConfig out{config, {}};
  fill_parallel(out.config.parallel, out.notices);
  fill_model(out.config.model);
  fill_hybrid(out.config.model, out.config.parallel, out.notices);
  fill_training(out.config, world_size, out.notices);
  fill_recompute(out.config.recompute, out.config.parallel.context_parallel_size, out.notices);
  fill_data(out.config.data, out.notices);
  auto& eval_iters = out.config.evaluation.eval_iters;
  eval_iters = std::max<std::int64_t>(eval_iters, 0);  // -1 is no evaluation to Megatron-LM as well
  note_nothing_to_do(config, out.notices);
  note_no_learning_rate(out.config, out.notices);
  note_incomplete_batch(out.config.batch, out.notices);
  note_repeated_corpora(config.data, out.notices);
  return out;
}

}  // namespace ringtron

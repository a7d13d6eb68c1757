// Values that follow from others.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "ringtron/config/validate.h"

namespace ringtron {
namespace {

// Products of absurd flags stay ints; rules then report them.
int saturate(std::int64_t value) {
  return static_cast<int>(std::min<std::int64_t>(value, std::numeric_limits<int>::max()));
}

void resolve_parallel(ParallelConfig& parallel, std::vector<Notice>& notices) {
  for (std::string& type : parallel.cp_comm_type) {
    if (type == "allgather") type = "all_gather";
  }
  if (parallel.sequence_parallel && parallel.tensor_model_parallel_size == 1) {
    parallel.sequence_parallel = false;
    notices.push_back(
        {Notice::Kind::warning,
         "--sequence-parallel is switched off: it cuts work within a tensor-parallel group, and "
         "--tensor-model-parallel-size is 1"});
  }
}

void resolve_model(ModelConfig& model, std::vector<Notice>& notices) {
  if (model.ffn_hidden_size == 0) {
    const std::int64_t h = model.hidden_size;
    model.ffn_hidden_size = saturate(model.swiglu ? h * 8 / 3 / 64 * 64 : 4 * h);
  }
  if (model.kv_channels == 0 && model.num_attention_heads > 0) {
    model.kv_channels = model.hidden_size / model.num_attention_heads;
  }
  if (!model.group_query_attention) {
    if (model.num_query_groups != 1 && model.num_query_groups != model.num_attention_heads) {
      notices.push_back({Notice::Kind::warning,
                         fmt::format("--num-query-groups {} has no effect without --group-query-attention",
                                     model.num_query_groups)});
    }
    model.num_query_groups = model.num_attention_heads;
  }
  if (model.use_rotary_position_embeddings) model.position_embedding_type = "rope";
  if (model.add_bias_linear) model.add_qkv_bias = true;
}

void resolve_training(Config& config, int world_size, std::vector<Notice>& notices) {
  BatchConfig& batch = config.batch;
  if (batch.global_batch_size == 0) {
    const std::int64_t replicas = data_parallel_size(config.parallel, world_size);
    batch.global_batch_size = saturate(batch.micro_batch_size * replicas);
    if (batch.global_batch_size > 0) {
      notices.push_back(
          {Notice::Kind::note, fmt::format("setting global batch size to {}", batch.global_batch_size)});
    }
  }
  OptimizerConfig& optimizer = config.optimizer;
  if (optimizer.lr_decay_iters == 0) optimizer.lr_decay_iters = batch.train_iters;
  if (optimizer.lr_decay_samples == 0) optimizer.lr_decay_samples = batch.train_samples;
  if (config.precision.bf16) config.precision.accumulate_allreduce_grads_in_fp32 = true;
  if (batch.skip_train) {
    config.checkpoint.no_load_optim = true;
    // No schedule of this command line counts, so it does not have to be the checkpoint's.
    optimizer.use_checkpoint_opt_param_scheduler = true;
    optimizer.override_opt_param_scheduler = false;
  }
}

// What was given but does nothing is set back, with a warning, so that listings show what runs.
void resolve_recompute(RecomputeConfig& recompute, int context_ranks, std::vector<Notice>& notices) {
  const auto warn = [&](std::string_view text) { notices.push_back({Notice::Kind::warning, std::string(text)}); };
  if (recompute.ckpt_activations) {
    warn("--ckpt-activations is no flag of Megatron-LM; it is read as --recompute-activations");
    recompute.activations = true;
    recompute.ckpt_activations = false;
  }
  if (recompute.activations && recompute.granularity.empty()) recompute.granularity = "selective";
  const bool none = recompute.granularity.empty();
  if (none && (!recompute.method.empty() || recompute.num_layers != 0 || !recompute.modules.empty())) {
    warn("--recompute-method, --recompute-num-layers and --recompute-modules have no effect without "
         "--recompute-granularity");
    recompute.method.clear();
    recompute.num_layers = 0;
    recompute.modules.clear();
  }
  if (recompute.granularity == "full" && !recompute.modules.empty()) {
    warn("--recompute-modules has no effect with --recompute-granularity full, which recomputes whole layers");
    recompute.modules.clear();
  }
  if (recompute.granularity == "selective" && recompute.modules.empty()) recompute.modules = {"core_attn"};
  if (recompute.cp_keep_kv && (none || context_ranks == 1)) {
    warn(none ? "--cp-keep-kv is switched off: attention is recomputed with --recompute-granularity only"
              : "--cp-keep-kv is switched off: nothing comes from other ranks, --context-parallel-size is 1");
    recompute.cp_keep_kv = false;
  }
}

void resolve_data(DataConfig& data, std::vector<Notice>& notices) {
  if (data.mock_data && data.data_path.empty() && !data.split.empty()) {
    notices.push_back({Notice::Kind::warning, "--split has no effect with --mock-data, whose samples are made up for each part"});
  }
  if (!data.split.empty() || data.data_path.empty()) return;
  data.split = "969, 30, 1";
  notices.push_back({Notice::Kind::warning, "--split is not given; the data is cut 969, 30, 1"});
}

// A --load that was forgotten.
void tell_of_checkpoint(const Config& given, std::vector<Notice>& notices) {
  const CheckpointConfig& checkpoint = given.checkpoint;
  if (!checkpoint.load.empty()) return;
  if (given.batch.skip_train) {
    notices.push_back({Notice::Kind::warning, "--skip-train without --load evaluates weights that are drawn from the seed"});
  } else if (checkpoint.finetune || checkpoint.no_load_optim) {
    notices.push_back({Notice::Kind::warning, fmt::format("{} has no effect without --load: weights are drawn from the seed",
                                                          checkpoint.finetune ? "--finetune" : "--no-load-optim")});
  }
}

// What leaves a run nothing to do. That the data has no part to evaluate on is known only when it is open (train/trainer.cpp).
void tell_of_nothing_to_do(const Config& given, std::vector<Notice>& notices) {
  if (!given.batch.skip_train || given.evaluation.eval_iters > 0) return;
  notices.push_back({Notice::Kind::warning, "--skip-train with --eval-iters 0: nothing is trained and nothing is evaluated. Raise "
                                            "--eval-iters, or leave out --skip-train"});
}

}  // namespace

Resolved resolve(const Config& config, int world_size) {
  Resolved out{config, {}};
  resolve_parallel(out.config.parallel, out.notices);
  resolve_model(out.config.model, out.notices);
  resolve_training(out.config, world_size, out.notices);
  resolve_recompute(out.config.recompute, out.config.parallel.context_parallel_size, out.notices);
  resolve_data(out.config.data, out.notices);
  tell_of_checkpoint(config, out.notices);
  tell_of_nothing_to_do(config, out.notices);
  return out;
}

}  // namespace ringtron

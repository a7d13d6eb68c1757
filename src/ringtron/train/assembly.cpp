#include "ringtron/train/assembly.h"

#include "ringtron/base/check.h"
#include "ringtron/config/batch/batch_schedule.h"
#include "ringtron/models/model_spec.h"
#include "ringtron/train/batch_shape.h"
#include "ringtron/train/layer_transports.h"

namespace ringtron {
namespace {

LrSchedule make_schedule(const ResolvedConfig& config, std::int64_t train_iterations) {
  const OptimizerConfig& o = config->optimizer;
  const std::int64_t batch = config->batch.global_batch_size;  // lengths in steps go with one size
  const std::int64_t whole_run =
      config->batch.train_samples > 0 ? config->batch.train_samples : train_iterations * batch;
  const auto samples = [&](std::int64_t iters, std::int64_t in_samples) {
    return in_samples > 0 ? in_samples : iters * batch;
  };
  LrScheduleOptions options;
  if (config->batch.skip_train) {  // nobody asks it for a rate, so nothing has to be given for it
    options.max_lr = 1.0;
    options.decay_samples = 1;
    return LrSchedule(options);
  }
  options.max_lr = o.lr;
  options.min_lr = o.min_lr;
  options.init_lr = o.lr_warmup_init;
  options.decay_samples = samples(o.lr_decay_iters, o.lr_decay_samples);
  if (options.decay_samples == 0) options.decay_samples = whole_run;
  options.warmup_samples = o.lr_warmup_fraction ? *o.lr_warmup_fraction * static_cast<double>(options.decay_samples)
                                                : static_cast<double>(samples(o.lr_warmup_iters, o.lr_warmup_samples));
  options.decay_style = o.lr_decay_style;
  options.wsd_decay_style = o.lr_wsd_decay_style;
  options.wsd_decay_samples = samples(o.lr_wsd_decay_iters, o.lr_wsd_decay_samples);
  options.start_weight_decay = o.start_weight_decay.value_or(o.weight_decay);
  options.end_weight_decay = o.end_weight_decay.value_or(o.weight_decay);
  options.weight_decay_incr_style = o.weight_decay_incr_style;
  options.weight_decay_incr_samples = whole_run;
  if (!o.decoupled_lr) return LrSchedule(options);
  return LrSchedule(options, LrLimits{*o.decoupled_lr, o.decoupled_min_lr.value_or(o.min_lr)});
}

ParameterStore::Options store_options(const Job& job, InitialValues values) {
  return {job.compute_type(),       job.device(), job.config()->precision.seed, job.parallel().tp_rank(),
          job.parallel().tp_size(), values};
}

BucketOptions bucket_options(const ResolvedConfig& config) {
  BucketOptions options;
  options.overlap = config->parallel.overlap_grad_reduce;
  options.bucket_size = config->parallel.ddp_bucket_size;
  options.sharded = config->parallel.use_distributed_optimizer;
  options.bf16_messages = config->precision.grad_reduce_in_bf16;
  options.overlap_gather = config->parallel.overlap_param_gather;
  return options;
}

LossScaleOptions loss_scale_options(const PrecisionConfig& p) {
  return {p.has_dynamic_loss_scale(), p.loss_scale.value_or(p.initial_loss_scale), p.min_loss_scale,
          p.loss_scale_window, p.hysteresis};
}

MuonOptions muon_options(const ResolvedConfig& config, const AdamOptions& others) {
  const OptimizerConfig& o = config->optimizer;
  MuonOptions out;
  out.momentum = o.muon_momentum;
  out.nesterov = o.muon_nesterov;
  out.coefficients = o.muon_coefficient_type;
  out.steps = o.muon_num_ns_steps;
  out.scale = o.muon_scale_mode;
  out.extra_scale = o.muon_extra_scale_factor;
  out.bf16_products = o.muon_fp32_matmul_prec == MuonProducts::medium;
  const ModelConfig& m = config->model;
  if (o.muon_split_qkv) {
    const std::int64_t head = m.kv_channels;
    out.qkv_rows = {m.num_attention_heads / m.num_query_groups * head, head, head};
  }
  out.others = others;
  return out;
}

StageRanks stage_ranks(const Job& job) {
  const ParallelState& parallel = job.parallel();
  const ProcessGrid& grid = parallel.grid();
  StageRanks out;
  out.group = &parallel.group(kDataContextAxes | Axis::tensor);
  for (int rank = 0; rank < out.group->size(); ++rank) {
    const int global = out.group->global_rank(rank);
    out.places.push_back({grid.coordinate(global, Axis::tensor), grid.index_in_group(global, kDataContextAxes)});
  }
  out.tensor_size = parallel.tp_size();
  out.replicas = grid.group_size(kDataContextAxes);
  out.owners = job.config()->parallel.use_distributed_optimizer && out.replicas > 1;
  return out;
}

OptimizerOptions optimizer_options(const Job& job) {
  const OptimizerConfig& o = job.config()->optimizer;
  const AdamOptions adam{o.adam_beta1, o.adam_beta2, o.adam_eps};
  switch (o.optimizer) {
    case OptimizerType::adam:
      return adam;
    case OptimizerType::sgd:
      return SgdOptions{o.sgd_momentum};
    case OptimizerType::muon:
      return MuonSetup{.options = muon_options(job.config(), adam), .ranks = stage_ranks(job)};
  }
  RT_CHECK(false, "no such optimizer");
}

}  // namespace

std::int64_t iterations_of(const Config& config) {
  const BatchConfig& batch = config.batch;
  return batch.train_iters > 0 ? batch.train_iters : batch_schedule(config).steps_of(batch.train_samples);
}

CpAttentionOptions cp_attention_options(const ResolvedConfig& config) {
  CpAttentionOptions options;
  options.deterministic = config->precision.deterministic_mode;
  const auto& sizes = config->parallel.hierarchical_context_parallel_sizes;
  options.hierarchical_a = sizes.empty() ? 1 : sizes[0];
  return options;
}

Assembly::Assembly(const Job& job, const MakeAttention& make_attention, InitialValues values,
                   const MakeLayer& make_layer)
    : store_(store_options(job, values)),
      transports_(layer_transports(job)),
      attention_(make_attention(job.parallel().context(), make_batch_shape(job.config(), {}, {})->sequence->layout,
                                cp_attention_options(job.config()))),
      model_(BuildContext{job.parallel(), store_, *attention_},
             model_spec(job.config(), transports_, job.tokenizer().vocab_size()), make_layer),
      channels_(job.parallel(), pipeline_shape(job, model_, /*micro_batches=*/1), job.device()),
      schedule_(make_schedule(job.config(), iterations_of(job.config()))),
      reducer_(
          store_.all(),
          // Along the pipeline the first and the last rank have a parameter in common, no others.
          [&](AxisSet axes) -> Communicator& {
            return axes == Axis::pipeline ? channels_.ends() : job.parallel().group(axes);
          },
          bucket_options(job.config())),
      optimizer_(store_.all(), reducer_.buffer().plan(), optimizer_options(job), values, reducer_.owned()),
      state_{store_, optimizer_, schedule_, job.config(), {}, {}},
      step_(job, model_, state_, reducer_, *attention_, channels_) {
  const PrecisionConfig& precision = job.config()->precision;
  if (precision.fp16) state_.loss_scale.emplace(loss_scale_options(precision), job.device());
}

void Assembly::start_from_initial_values() {
  store_.draw();
  optimizer_.restart_from_parameters();
}

}  // namespace ringtron

// Rules over batch, length of the run, schedule and precision.
#include <fmt/format.h>

#include <algorithm>

#include "ringtron/config/batch/batch_schedule.h"
#include "ringtron/config/rule.h"

namespace ringtron::internal {
namespace {

using In = const RuleInput&;

const BatchConfig& batch(In in) { return in.given.batch; }
const OptimizerConfig& optimizer(In in) { return in.given.optimizer; }
const EvaluationConfig& evaluation(In in) { return in.given.evaluation; }

// Sequences that one step needs at least: one micro-batch on each data-parallel rank.
long long one_micro_step(In in) { return 1LL * batch(in).micro_batch_size * in.data_parallel_size; }

long long one_evaluation_step(In in) {
  return 1LL * in.filled.evaluation.eval_micro_batch_size * in.data_parallel_size;
}

bool trains_by_samples(In in) { return batch(in).train_samples > 0 && batch(in).train_iters == 0; }
bool trains_by_iters(In in) { return batch(in).train_iters > 0 && batch(in).train_samples == 0; }

std::int64_t first_batch(In in) {
  const auto result = try_batch_schedule(in.filled.batch, in.filled.model.seq_length);
  const auto* schedule = std::get_if<BatchSchedule>(&result);
  return schedule != nullptr ? schedule->parts().front().batch : in.filled.batch.global_batch_size;
}

// Lengths of decay, warm-up and last phase in one unit: steps, or sequences with --train-samples.
struct Lengths {
  double decay, warmup, wsd;
};

Lengths lengths(In in) {
  const OptimizerConfig& o = in.filled.optimizer;
  const bool samples = trains_by_samples(in);
  const double decay = static_cast<double>(samples ? o.lr_decay_samples : o.lr_decay_iters);
  const double given = static_cast<double>(samples ? o.lr_warmup_samples : o.lr_warmup_iters);
  const double wsd = static_cast<double>(samples ? o.lr_wsd_decay_samples : o.lr_wsd_decay_iters);
  return {decay, o.lr_warmup_fraction ? *o.lr_warmup_fraction * decay : given, wsd};
}

const char* unit(In in) { return trains_by_samples(in) ? "samples" : "steps"; }

// The flag that says how long the decay is, with its value.
std::string decay_flag(In in) {
  const OptimizerConfig& o = optimizer(in);
  if (trains_by_samples(in)) {
    return o.lr_decay_samples > 0 ? fmt::format("--lr-decay-samples {}", o.lr_decay_samples)
                                  : fmt::format("--train-samples {}", batch(in).train_samples);
  }
  return o.lr_decay_iters > 0 ? fmt::format("--lr-decay-iters {}", o.lr_decay_iters)
                              : fmt::format("--train-iters {}", batch(in).train_iters);
}

std::string warmup_flag(In in) {
  const OptimizerConfig& o = optimizer(in);
  if (o.lr_warmup_fraction) return fmt::format("--lr-warmup-fraction {}", *o.lr_warmup_fraction);
  return trains_by_samples(in) ? "--lr-warmup-samples" : "--lr-warmup-iters";
}

constexpr Rule kRules[] = {
    {"--micro-batch-size", [](In in) { return batch(in).micro_batch_size == 0; },
     [](In) { return std::string("micro_batch_size argument is None: expected --micro-batch-size"); },
     "give the number of sequences that go through the model at once; 1 needs the least memory"},
    {"--global-batch-size --micro-batch-size",
     [](In in) { return one_micro_step(in) > 0 && batch(in).global_batch_size % one_micro_step(in) != 0; },
     [](In in) {
       return fmt::format(
           "global batch size ({}) is not divisible by micro batch size ({}) times data parallel size ({}); "
           "use "
           "--global-batch-size {}",
           batch(in).global_batch_size, batch(in).micro_batch_size, in.data_parallel_size,
           multiples_near(batch(in).global_batch_size, one_micro_step(in)));
     },
     ""},
    {"--eval-global-batch-size --eval-micro-batch-size",
     [](In in) {
       const EvaluationConfig& e = in.filled.evaluation;
       const bool is_own = evaluation(in).eval_micro_batch_size > 0 || evaluation(in).eval_global_batch_size > 0;
       return is_own && one_evaluation_step(in) > 0 && e.eval_global_batch_size % one_evaluation_step(in) != 0;
     },
     [](In in) {
       const EvaluationConfig& e = in.filled.evaluation;
       return fmt::format(
           "eval_global_batch_size ({}) must be divisible by eval_micro_batch_size ({}) * data_parallel_size ({}); use "
           "--eval-global-batch-size {}",
           e.eval_global_batch_size, e.eval_micro_batch_size, in.data_parallel_size,
           multiples_near(e.eval_global_batch_size, one_evaluation_step(in)));
     },
     ""},
    {"--train-iters --train-samples",
     [](In in) { return batch(in).train_iters == 0 && batch(in).train_samples == 0 && !batch(in).skip_train; },
     [](In) { return std::string("length of the run: expected --train-iters or --train-samples, got neither, or 0"); },
     "give one of them, or --skip-train to evaluate only (which needs no --lr either)"},
    {"--train-iters --train-samples", [](In in) { return batch(in).train_iters > 0 && batch(in).train_samples > 0; },
     [](In in) {
       return fmt::format("length of the run: expected --train-iters or --train-samples, got both ({} and {})",
                          batch(in).train_iters, batch(in).train_samples);
     },
     "keep one"},
    {"--train-samples --global-batch-size",
     [](In in) { return trains_by_samples(in) && !batch(in).skip_train && batch(in).train_samples < first_batch(in); },
     [](In in) {
       return fmt::format("--train-samples: expected at least one global batch of {}, got {}: no step would be made",
                          first_batch(in), batch(in).train_samples);
     },
     "raise it, or lower --global-batch-size"},

    {"--lr", [](In in) { return optimizer(in).lr == 0.0 && !batch(in).skip_train; },
     [](In) { return std::string("lr argument is None: expected --lr"); }, "give the peak learning rate"},
    {"--min-lr --lr", [](In in) { return optimizer(in).lr > 0.0 && optimizer(in).min_lr > optimizer(in).lr; },
     [](In in) {
       return fmt::format("--min-lr: expected at most --lr {}, got {}", optimizer(in).lr, optimizer(in).min_lr);
     },
     "lower --min-lr"},
    {"--decoupled-min-lr --decoupled-lr --min-lr",
     [](In in) {
       const OptimizerConfig& o = optimizer(in);
       return o.decoupled_lr && o.decoupled_min_lr.value_or(o.min_lr) > *o.decoupled_lr;
     },
     [](In in) {
       const OptimizerConfig& o = optimizer(in);
       return fmt::format("{}: expected at most --decoupled-lr {}, got {}",
                          o.decoupled_min_lr ? "--decoupled-min-lr" : "--min-lr, which is --decoupled-min-lr too",
                          *o.decoupled_lr, o.decoupled_min_lr.value_or(o.min_lr));
     },
     "lower --decoupled-min-lr"},
    {"--lr-warmup-init --lr",
     [](In in) { return optimizer(in).lr > 0.0 && optimizer(in).lr_warmup_init > optimizer(in).lr; },
     [](In in) {
       return fmt::format("--lr-warmup-init: expected at most --lr {}, got {}", optimizer(in).lr,
                          optimizer(in).lr_warmup_init);
     },
     "lower --lr-warmup-init"},
    {"--train-iters --lr-decay-samples --lr-warmup-samples --lr-wsd-decay-samples",
     [](In in) {
       const OptimizerConfig& o = optimizer(in);
       return trains_by_iters(in) && o.lr_decay_samples + o.lr_warmup_samples + o.lr_wsd_decay_samples > 0;
     },
     [](In) {
       return std::string(
           "with --train-iters: expected the schedule in steps, got --lr-decay-samples, "
           "--lr-warmup-samples or --lr-wsd-decay-samples");
     },
     "use the flags that end in -iters"},
    {"--train-samples --lr-decay-iters --lr-warmup-iters --lr-wsd-decay-iters",
     [](In in) {
       const OptimizerConfig& o = optimizer(in);
       return trains_by_samples(in) && o.lr_decay_iters + o.lr_warmup_iters + o.lr_wsd_decay_iters > 0;
     },
     [](In) {
       return std::string(
           "with --train-samples: expected the schedule in samples, got --lr-decay-iters, "
           "--lr-warmup-iters or --lr-wsd-decay-iters");
     },
     "use the flags that end in -samples"},
    {"--lr-warmup-fraction --lr-warmup-iters --lr-warmup-samples",
     [](In in) {
       return optimizer(in).lr_warmup_fraction && optimizer(in).lr_warmup_iters + optimizer(in).lr_warmup_samples > 0;
     },
     [](In) { return std::string("warm-up: expected --lr-warmup-fraction or a length, got both"); },
     "keep one of --lr-warmup-fraction, --lr-warmup-iters, --lr-warmup-samples"},
    {"--lr-warmup-iters --lr-warmup-samples --lr-decay-iters --lr-decay-samples --train-iters "
     "--train-samples",
     [](In in) { return lengths(in).decay > 0 && lengths(in).warmup >= lengths(in).decay; },
     [](In in) {
       return fmt::format("{}: expected a warm-up shorter than the decay of {:.0f} {} ({}), got {:.0f}",
                          warmup_flag(in), lengths(in).decay, unit(in), decay_flag(in), lengths(in).warmup);
     },
     "shorten the warm-up or lengthen the decay"},
    {"--lr-decay-style --lr-wsd-decay-iters --lr-wsd-decay-samples",
     [](In in) {
       return optimizer(in).lr_decay_style == LrDecayStyle::wsd && lengths(in).decay > 0 &&
              (lengths(in).wsd == 0 || lengths(in).wsd > lengths(in).decay - lengths(in).warmup);
     },
     [](In in) {
       return fmt::format(
           "--lr-decay-style WSD: expected a last phase of 1 to {:.0f} {} ({} less the warm-up), got {:.0f}",
           lengths(in).decay - lengths(in).warmup, unit(in), decay_flag(in), lengths(in).wsd);
     },
     "give --lr-wsd-decay-iters (or -samples with --train-samples)"},

    {"--weight-decay-incr-style --start-weight-decay --end-weight-decay",
     [](In in) {
       const OptimizerConfig& o = optimizer(in);
       return o.weight_decay_incr_style == WeightDecayStyle::constant && (o.start_weight_decay || o.end_weight_decay);
     },
     [](In) {
       return std::string("--start-weight-decay, --end-weight-decay: expected none with a constant weight decay");
     },
     "add --weight-decay-incr-style linear or cosine, or use --weight-decay alone"},
    {"--weight-decay-incr-style --start-weight-decay --end-weight-decay",
     [](In in) {
       const OptimizerConfig& o = optimizer(in);
       return o.weight_decay_incr_style != WeightDecayStyle::constant && !(o.start_weight_decay && o.end_weight_decay);
     },
     [](In in) {
       return fmt::format("--weight-decay-incr-style {}: expected --start-weight-decay and --end-weight-decay",
                          word_of(optimizer(in).weight_decay_incr_style));
     },
     "give both"},
    {"--start-weight-decay --end-weight-decay",
     [](In in) {
       const OptimizerConfig& o = optimizer(in);
       return o.start_weight_decay && o.end_weight_decay && *o.start_weight_decay > *o.end_weight_decay;
     },
     [](In in) {
       return fmt::format("--end-weight-decay: expected at least --start-weight-decay {}, got {}",
                          *optimizer(in).start_weight_decay, *optimizer(in).end_weight_decay);
     },
     "exchange them"},
    {"--override-opt-param-scheduler --use-checkpoint-opt-param-scheduler",
     [](In in) {
       return optimizer(in).override_opt_param_scheduler && optimizer(in).use_checkpoint_opt_param_scheduler;
     },
     [](In) {
       return std::string("--override-opt-param-scheduler, --use-checkpoint-opt-param-scheduler: expected at most one");
     },
     "keep the one whose schedule you want"},
    {"--profile-step-start --profile-step-end",
     [](In in) {
       const LoggingConfig& l = in.given.logging;
       return l.profile && l.profile_step_start >= l.profile_step_end;
     },
     [](In in) {
       return fmt::format("--profile-step-end: expected above --profile-step-start {}, got {}",
                          in.given.logging.profile_step_start, in.given.logging.profile_step_end);
     },
     "the profile begins when so many iterations are done, and ends at the second number"},
    {"--profile-ranks",
     [](In in) {
       return in.given.logging.profile &&
              std::ranges::any_of(in.given.logging.profile_ranks, [&](int rank) { return rank >= in.world_size; });
     },
     [](In in) {
       return fmt::format("--profile-ranks: expected ranks below {}, got {}", in.world_size,
                          *std::ranges::max_element(in.given.logging.profile_ranks));
     },
     "ranks are counted from 0"},
    {"--bf16 --fp16 --fp64",
     [](In in) {
       const PrecisionConfig& p = in.given.precision;
       return p.bf16 + p.fp16 + p.fp64 > 1;
     },
     [](In in) {
       const PrecisionConfig& p = in.given.precision;
       return fmt::format("--bf16, --fp16, --fp64: expected at most one type, got {}",
                          p.bf16 && p.fp16 && p.fp64 ? "all" : "two");
     },
     "keep one"},
    {"--fp16 --initial-loss-scale --min-loss-scale",
     [](In in) {
       const PrecisionConfig& p = in.given.precision;
       return p.has_dynamic_loss_scale() && p.min_loss_scale > p.initial_loss_scale;
     },
     [](In in) {
       return fmt::format("--min-loss-scale: expected at most --initial-loss-scale {}, got {}",
                          in.given.precision.initial_loss_scale, in.given.precision.min_loss_scale);
     },
     "lower --min-loss-scale"},
    {"--optimizer --fp16",
     [](In in) { return optimizer(in).optimizer == OptimizerType::muon && in.given.precision.fp16; },
     [](In) -> std::string {
       return "--optimizer muon: expected --bf16, --fp64 or neither, got --fp16, for which Megatron-LM has no Muon "
              "either";
     },
     "take --bf16, or --optimizer adam"},
};

}  // namespace

std::span<const Rule> training_rules() { return kRules; }

}  // namespace ringtron::internal

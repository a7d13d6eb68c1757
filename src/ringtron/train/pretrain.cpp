#include "ringtron/train/pretrain.h"

#include <fmt/format.h>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/config/config_text.h"
#include "ringtron/config/parse.h"
#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/launch/launch_environment.h"
#include "ringtron/models/gpt.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/trainer.h"

namespace ringtron {
namespace {

// Megatron's start-up lines, up to the argument listing.
void announce(const Job& job) {
  const Config& config = job.config();
  print_line(start_up_line(job.grid(), config.parallel.hierarchical_context_parallel_sizes));
  print_line("using {} for parameters ...", config.precision.fp64   ? "torch.float64"
                                            : config.precision.bf16 ? "torch.bfloat16"
                                                                    : "torch.float32");
  if (config.precision.bf16) print_line("accumulate and all-reduce gradients in fp32 for bfloat16 data type.");
  for (const std::string& line : argument_dump(config, job.environment().world_size)) print_line(line);
}

LrSchedule make_schedule(const Config& config, std::int64_t train_iterations) {
  const OptimizerConfig& o = config.optimizer;
  const std::int64_t batch = config.batch.global_batch_size;
  const auto samples = [&](std::int64_t iters, std::int64_t in_samples) { return in_samples > 0 ? in_samples : iters * batch; };
  LrScheduleOptions options;
  options.max_lr = o.lr;
  options.min_lr = o.min_lr;
  options.init_lr = o.lr_warmup_init;
  options.decay_samples = samples(o.lr_decay_iters, o.lr_decay_samples);
  if (options.decay_samples == 0) options.decay_samples = train_iterations * batch;
  options.warmup_samples = o.lr_warmup_fraction
                               ? *o.lr_warmup_fraction * static_cast<double>(options.decay_samples)
                               : static_cast<double>(samples(o.lr_warmup_iters, o.lr_warmup_samples));
  options.decay_style = o.lr_decay_style;
  options.wsd_decay_style = o.lr_wsd_decay_style;
  options.wsd_decay_samples = samples(o.lr_wsd_decay_iters, o.lr_wsd_decay_samples);
  options.start_weight_decay = o.start_weight_decay.value_or(o.weight_decay);
  options.end_weight_decay = o.end_weight_decay.value_or(o.weight_decay);
  options.weight_decay_incr_style = o.weight_decay_incr_style;
  options.weight_decay_incr_samples = train_iterations * batch;
  return LrSchedule(options);
}

std::int64_t iterations_of(const BatchConfig& batch) {
  return batch.train_iters > 0 ? batch.train_iters : batch.train_samples / batch.global_batch_size;
}

// Reads the tokenizer's files on all ranks and fixes the padded vocabulary.
std::unique_ptr<Tokenizer> open_tokenizer(const Job& job, Config& config) {
  std::unique_ptr<Tokenizer> tokenizer;
  together(job.world(), [&] {
    tokenizer = tokenizer_of(config.data);
    if (config.model.padded_vocab_size == 0) {
      config.model.padded_vocab_size = static_cast<int>(
          pad_vocab_size(tokenizer->vocab_size(), config.model.make_vocab_size_divisible_by, job.parallel().tp_size()));
    }
    if (config.model.padded_vocab_size < tokenizer->vocab_size()) {
      throw ConfigError(fmt::format("--padded-vocab-size {} is below the tokenizer's vocabulary of {}",
                                    config.model.padded_vocab_size, tokenizer->vocab_size()));
    }
  });
  if (job.is_first_rank()) {
    print_line(" > padded vocab (size: {}) with {} dummy tokens (new size: {})", tokenizer->vocab_size(),
               config.model.padded_vocab_size - tokenizer->vocab_size(), config.model.padded_vocab_size);
  }
  return tokenizer;
}

ParameterStore::Options store_options(const Job& job) {
  return {job.compute_type(), job.device(), job.config().precision.seed, job.parallel().tp_rank(),
          job.parallel().tp_size()};
}

BucketOptions bucket_options(const Config& config) {
  BucketOptions options;
  options.overlap = config.parallel.overlap_grad_reduce;
  options.bucket_size = config.parallel.ddp_bucket_size;
  return options;
}

int train(const Job& job, Config config) {
  if (job.is_first_rank()) announce(job);
  const auto tokenizer = open_tokenizer(job, config);
  if (job.is_first_rank()) {
    print_line("> setting random seeds to {} ...", config.precision.seed);
    print_line("building GPT model ...");
  }
  const ParallelState& parallel = job.parallel();
  ParameterStore store(store_options(job));
  const auto attention = make_cp_attention(parallel.context(), zigzag_layout(config.model.seq_length, parallel.cp_size()));
  const GptModel model(BuildContext{config, parallel, store, tokenizer->vocab_size(), *attention});
  if (parallel.dp_rank() == 0 && parallel.cp_rank() == 0) {
    print_line(" > number of parameters on (tensor, pipeline) model parallel rank ({}, {}): {}", parallel.tp_rank(),
               parallel.pp_rank(), store.local_elements());
  }

  const std::int64_t iterations = iterations_of(config.batch);
  LrSchedule schedule = make_schedule(config, iterations);
  Optimizer optimizer(store.all(), {config.optimizer.adam_beta1, config.optimizer.adam_beta2, config.optimizer.adam_eps});
  TrainingState state{store, optimizer, schedule, {}};
  if (!config.checkpoint.load.empty()) load_checkpoint(job, state);
  GradientReducer reducer(store.all(), {parallel.data_context(), parallel.tensor()}, bucket_options(config));

  const TrainingData data(job, *tokenizer);
  if (job.is_first_rank()) print_line("done with setup ...");
  TrainStep step(job, model, state, reducer);
  CheckpointSaver saver(job);
  Trainer trainer({job, data, state, step, saver}, iterations);
  return trainer.run();
}

int start(int argc, char** argv) {
  const LaunchEnvironment environment = read_launch_environment(process_environment);
  ParseResult parsed;
  try {
    parsed = parse_command_line(arguments(argc, argv), environment.world_size);
  } catch (const ConfigError&) {
    if (environment.rank == 0) throw;
    return kExitUsage;  // a pure function of equal command lines: rank 0 says it
  }
  if (const auto* help = std::get_if<HelpText>(&parsed)) {
    if (environment.rank == 0) print_line(help->text);
    return kExitOk;
  }
  const auto& line = std::get<CommandLine>(parsed);
  if (environment.rank == 0) {
    for (const Notice& notice : line.notices) {
      if (notice.kind == Notice::Kind::warning) {
        warn_line(notice.text);
      } else {
        print_line(notice.text);
      }
    }
  }
  const Job job(line.config, environment);
  return train(job, line.config);
}

}  // namespace

int pretrain_gpt(int argc, char** argv) {
  try {
    return start(argc, argv);
  } catch (const ConfigError& e) {
    if (dynamic_cast<const ReportedElsewhere*>(&e) == nullptr) throw;
    return kExitUsage;
  } catch (const std::exception& e) {
    if (dynamic_cast<const ReportedElsewhere*>(&e) == nullptr) throw;
    return kExitFailure;
  }
}

}  // namespace ringtron

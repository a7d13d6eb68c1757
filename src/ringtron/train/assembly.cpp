#include "ringtron/train/assembly.h"

#include <fmt/format.h>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/modules/attention_config.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/batch_shape.h"
#include "ringtron/train/data_config.h"
#include "ringtron/train/layer_transports.h"
#include "ringtron/train/training_data.h"

namespace ringtron {
namespace {

LrSchedule make_schedule(const Config& config, std::int64_t train_iterations) {
  const OptimizerConfig& o = config.optimizer;
  const std::int64_t batch = config.batch.global_batch_size;
  const auto samples = [&](std::int64_t iters, std::int64_t in_samples) {
    return in_samples > 0 ? in_samples : iters * batch;
  };
  LrScheduleOptions options;
  if (config.batch.skip_train) {  // nobody asks it for a rate, so nothing has to be given for it
    options.max_lr = 1.0;
    options.decay_samples = 1;
    return LrSchedule(options);
  }
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

// What no flag has said and only the tokenizer knows.
Config with_vocabulary(Config config, std::int64_t vocab_size) {
  config.data.vocab_size = static_cast<int>(vocab_size);
  return config;
}

AdamOptions adam_options(const OptimizerConfig& optimizer) {
  return {optimizer.adam_beta1, optimizer.adam_beta2, optimizer.adam_eps};
}

}  // namespace

std::int64_t iterations_of(const BatchConfig& batch) {
  return batch.train_iters > 0 ? batch.train_iters : batch.train_samples / batch.global_batch_size;
}

std::unique_ptr<Tokenizer> open_tokenizer(const Job& job, Config& config) {
  std::unique_ptr<Tokenizer> tokenizer;
  together(job.world(), [&] {
    tokenizer = tokenizer_of(config.data);
    if (config.model.padded_vocab_size == 0) {
      config.model.padded_vocab_size = static_cast<int>(pad_vocab_size(
          tokenizer->vocab_size(), config.model.make_vocab_size_divisible_by, job.parallel().tp_size()));
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

Assembly::Assembly(const Job& job, Config config, std::int64_t vocab_size,
                   const CpAttentionOptions& attention)
    : config_(with_vocabulary(std::move(config), vocab_size)),
      store_(store_options(job)),
      transports_(layer_transports(job, config_)),
      attention_(make_cp_attention(job.parallel().context(), make_batch_shape(config_, {})->sequence->layout,
                                   cp_attention_options(config_, attention))),
      model_(BuildContext{config_, job.parallel(), store_, vocab_size, *attention_, transports_}),
      schedule_(make_schedule(config_, iterations_of(config_.batch))),
      optimizer_(store_.all(), adam_options(config_.optimizer)),
      state_{store_, optimizer_, schedule_, config_, {}, {}},
      reducer_(store_.all(), {job.parallel().data_context(), job.parallel().tensor()},
               bucket_options(config_)),
      step_(job, model_, state_, reducer_, *attention_) {}

}  // namespace ringtron

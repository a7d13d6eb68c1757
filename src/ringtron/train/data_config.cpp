#include "ringtron/train/data_config.h"

#include "ringtron/config/batch/batch_schedule.h"

namespace ringtron {

DataSources sources_of(const Config& config) {
  const DataConfig& data = config.data;
  return {data.data_path,
          data.train_data_path,
          data.valid_data_path,
          data.test_data_path,
          data.split,
          config.model.seq_length,
          static_cast<std::uint32_t>(config.precision.seed),
          data.data_cache_path};
}

std::array<std::int64_t, kSplitCount> wanted_samples(const Config& config) {
  TrainingLength length;
  length.train_iters = config.batch.train_iters;
  if (config.batch.train_samples > 0) {
    length.train_samples = config.batch.train_samples;
    length.train_iters = batch_schedule(config).steps_of(config.batch.train_samples);
  }
  length.global_batch_size = config.batch.global_batch_size;
  length.eval_global_batch_size = config.batch.global_batch_size;
  length.eval_interval = config.evaluation.eval_interval;
  length.eval_iters = config.evaluation.eval_iters;
  return wanted_samples(length);
}

std::unique_ptr<Tokenizer> tokenizer_of(const DataConfig& data) {
  TokenizerOptions options;
  options.type = data.tokenizer_type;
  options.vocab_file = data.vocab_file;
  options.merge_file = data.merge_file;
  options.vocab_size = data.vocab_size;
  return make_tokenizer(options);
}

}  // namespace ringtron

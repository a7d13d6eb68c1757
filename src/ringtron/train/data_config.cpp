#include "ringtron/train/data_config.h"

#include <fmt/format.h>

#include "ringtron/base/error.h"
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

std::vector<ValidationSet> validation_sets(const Config& config) {
  const DataSources sources = sources_of(config);
  if (!config.evaluation.multiple_validation_sets) return {{"", sources}};
  const Blend blend = parse_blend(sources.valid_data_path, "--valid-data-path");
  const std::size_t count = blend.prefixes.size();
  if (!blend.weights.empty() && count > 1) {
    throw ConfigError(
        "--multiple-validation-sets: expected --valid-data-path without weights, since each corpus has a loss of its "
        "own. Leave the weights out");
  }
  const std::vector<std::string>& names = config.evaluation.validation_set_names;
  if (!names.empty() && names.size() != count) {
    throw ConfigError(fmt::format(
        "Number of --validation-set-names ({}) must match the number of validation datasets ({}). Give one name for "
        "each corpus of --valid-data-path",
        names.size(), count));
  }
  std::vector<ValidationSet> sets;
  for (std::size_t i = 0; i < count; ++i) {
    sets.push_back({names.empty() ? std::to_string(i) : names[i], sources});
    sets.back().sources.valid_data_path = {blend.prefixes[i]};
  }
  return sets;
}

std::array<std::int64_t, kSplitCount> wanted_samples(const Config& config) {
  TrainingLength length;
  length.train_iters = config.batch.train_iters;
  if (config.batch.train_samples > 0) {
    length.train_samples = config.batch.train_samples;
    length.train_iters = batch_schedule(config).steps_of(config.batch.train_samples);
  }
  length.global_batch_size = config.batch.global_batch_size;
  const EvaluationConfig& evaluation = config.evaluation;
  const bool has_own = evaluation.eval_global_batch_size > 0;
  length.eval_global_batch_size = has_own ? evaluation.eval_global_batch_size : config.batch.global_batch_size;
  length.eval_interval = evaluation.eval_interval;
  length.eval_iters = evaluation.eval_iters;
  length.start_eval_at_iter = evaluation.start_eval_at_iter;
  length.full_validation = evaluation.full_validation;
  return wanted_samples(length);
}

std::unique_ptr<Tokenizer> tokenizer_of(const DataConfig& data) {
  TokenizerOptions options;
  options.type = data.tokenizer_type;
  options.vocab_file = data.vocab_file;
  options.merge_file = data.merge_file;
  options.vocab_size = data.vocab_size;
  options.model_file = data.tokenizer_model;
  options.extra_ids = data.vocab_extra_ids;
  options.tiktoken_pattern = data.tiktoken_pattern;
  options.tiktoken_special_count = data.tiktoken_num_special_tokens;
  options.special_tokens = data.tokenizer_special_tokens;
  options.special_ids = !data.tokenizer_hf_no_include_special_tokens;
  return make_tokenizer(options);
}

}  // namespace ringtron

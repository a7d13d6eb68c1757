#include "ringtron/config/resolved_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/config/validate.h"

namespace ringtron {
namespace {

// Settles the padded size; what is wrong with it goes to `faults`.
void fill_vocabulary(Config& config, std::int64_t vocabulary, std::vector<std::string>& faults) {
  constexpr std::int64_t kMost = std::numeric_limits<int>::max();
  ModelConfig& model = config.model;
  // Of a size that is below --vocab-size a rule has told.
  const bool is_told = model.padded_vocab_size < config.data.vocab_size;
  if (vocabulary < 1) {
    if (faults.empty()) faults.push_back(fmt::format("expected a vocabulary of at least 1 token, got {}", vocabulary));
    return;
  }
  if (model.padded_vocab_size == 0) {
    const int tp = config.parallel.tensor_model_parallel_size;
    const std::int64_t padded =
        pad_vocab_size(vocabulary, std::max(1, model.make_vocab_size_divisible_by), std::max(1, tp));
    if (padded > kMost && faults.empty()) {
      faults.push_back(
          fmt::format("expected a padded vocabulary below 2^31, got {}: {} tokens padded to a multiple of "
                      "--make-vocab-size-divisible-by {} times TP",
                      padded, vocabulary, model.make_vocab_size_divisible_by));
    }
    model.padded_vocab_size = static_cast<int>(std::min(padded, kMost));
  } else if (model.padded_vocab_size < vocabulary && !is_told) {
    faults.push_back(
        fmt::format("--padded-vocab-size {} is below the tokenizer's vocabulary of {}; raise it, or leave it out",
                    model.padded_vocab_size, vocabulary));
  }
  config.data.vocab_size = static_cast<int>(std::min(vocabulary, kMost));
}

}  // namespace

int ResolvedConfig::data_parallel_size() const { return ringtron::data_parallel_size(values_.parallel, world_size_); }

ResolvedConfig Resolution::valid() const {
  throw_faults(faults_);
  return despite_faults();
}

Resolution resolve(const Config& config, int world_size, std::int64_t vocabulary,
                   std::span<const std::string> already_reported) {
  Resolution out;
  out.world_size_ = world_size;
  out.faults_ = validate(config, world_size, already_reported);
  FilledConfig filled = fill_defaults(config, world_size);
  out.values_ = std::move(filled.config);
  out.notices_ = std::move(filled.notices);
  fill_vocabulary(out.values_, vocabulary, out.faults_);
  return out;
}

std::int64_t pad_vocab_size(std::int64_t vocab_size, std::int64_t divisible_by, std::int64_t tensor_parallel_size) {
  if (vocab_size <= 0 || divisible_by <= 0 || tensor_parallel_size <= 0) {
    throw ConfigError(
        fmt::format("vocabulary padding: expected positive numbers, got vocabulary size {}, "
                    "--make-vocab-size-divisible-by {}, --tensor-model-parallel-size {}",
                    vocab_size, divisible_by, tensor_parallel_size));
  }
  const std::int64_t multiple = divisible_by * tensor_parallel_size;
  return (vocab_size + multiple - 1) / multiple * multiple;
}

}  // namespace ringtron

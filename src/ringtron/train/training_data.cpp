#include "ringtron/train/training_data.h"

#include <ATen/ATen.h>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/context_parallel/batch_slice.h"
#include "ringtron/data/blended_dataset.h"
#include "ringtron/data/gpt_dataset.h"
#include "ringtron/data/mock_dataset.h"
#include "ringtron/train/agreement.h"

namespace ringtron {
namespace {

// What one split is made from: corpora with weights, and the share of each that belongs to the split.
struct SplitSource {
  Blend blend;
  std::string shares;  // "99,1,0" over each corpus
};

// --data-path with --split, or a path of its own for each split.
std::optional<SplitSource> source_of(const DataConfig& data, Split split) {
  if (!data.data_path.empty()) {
    return SplitSource{parse_blend(data.data_path), data.split.empty() ? std::string(kDefaultSplit) : data.split};
  }
  const auto& words = split == Split::train   ? data.train_data_path
                      : split == Split::valid ? data.valid_data_path
                                              : data.test_data_path;
  if (words.empty()) return std::nullopt;
  const char* whole = split == Split::train ? "1,0,0" : split == Split::valid ? "0,1,0" : "0,0,1";
  return SplitSource{parse_blend(words), whole};
}

std::unique_ptr<Dataset> open_corpus(const Job& job, const std::string& prefix, const std::string& shares, Split split,
                                     std::int64_t wanted) {
  const Config& config = job.config();
  auto corpus = std::make_shared<const IndexedDataset>(prefix);
  const auto range = split_sequences(shares, corpus->sequences())[static_cast<std::size_t>(split)];
  if (!range || range->size() == 0) return nullptr;
  GptDatasetOptions options;
  options.split = split;
  options.index.sequences = *range;
  options.index.sequence_length = config.model.seq_length;
  options.index.seed = static_cast<std::uint32_t>(config.precision.seed);
  options.index.samples = wanted;
  options.cache_folder = config.data.data_cache_path;
  auto dataset = std::make_unique<GptDataset>(std::move(corpus), options);
  if (job.is_first_rank()) {
    print_line(" > {} of {}: tokens per epoch {}, total number of samples: {}, total number of epochs: {}",
               split_name(split), prefix, dataset->sizes().tokens_per_epoch, dataset->sizes().samples,
               dataset->sizes().epochs);
    if (!dataset->cache_problem().empty()) {
      warn_line("the sample index of {} could not be cached: {}", prefix, dataset->cache_problem());
    }
  }
  return dataset;
}

std::unique_ptr<Dataset> open_split(const Job& job, Split split, std::int64_t wanted) {
  const auto source = source_of(job.config().data, split);
  if (!source || wanted == 0) return nullptr;
  const Blend& blend = source->blend;
  if (blend.prefixes.size() == 1) return open_corpus(job, blend.prefixes[0], source->shares, split, wanted);
  std::vector<double> weights = blend.weights;
  if (weights.empty()) {  // by size
    double total = 0;
    for (const auto& prefix : blend.prefixes) weights.push_back(static_cast<double>(IndexedDataset(prefix).tokens()));
    for (const double w : weights) total += w;
    for (double& w : weights) w /= total;
  }
  std::vector<std::unique_ptr<Dataset>> parts;
  for (std::size_t i = 0; i < blend.prefixes.size(); ++i) {
    parts.push_back(open_corpus(job, blend.prefixes[i], source->shares, split, wanted_of_corpus(wanted, weights[i])));
    if (parts.back() == nullptr) return nullptr;
  }
  return std::make_unique<BlendedDataset>(std::move(parts), std::move(weights), wanted);
}

}  // namespace

std::unique_ptr<Tokenizer> tokenizer_of(const DataConfig& data) {
  TokenizerOptions options;
  options.type = data.tokenizer_type;
  options.vocab_file = data.vocab_file;
  options.merge_file = data.merge_file;
  options.vocab_size = data.vocab_size;
  return make_tokenizer(options);
}

TrainingData::TrainingData(const Job& job, const Tokenizer& tokenizer)
    : job_(job), vocab_size_(tokenizer.vocab_size()), end_of_document_(tokenizer.eod()) {
  const Config& config = job.config();
  TrainingLength length;
  length.train_iters = config.batch.train_iters;
  if (config.batch.train_samples > 0) length.train_samples = config.batch.train_samples;
  length.global_batch_size = config.batch.global_batch_size;
  length.eval_global_batch_size = config.batch.global_batch_size;
  length.eval_interval = config.evaluation.eval_interval;
  length.eval_iters = config.evaluation.eval_iters;
  const auto wanted = wanted_samples(length);
  if (job.is_first_rank()) {
    print_line("> building train, validation, and test datasets ...");
    print_line(" > datasets target sizes (minimum size):");
    print_line("    train:      {}", wanted[0]);
    print_line("    validation: {}", wanted[1]);
    print_line("    test:       {}", wanted[2]);
  }
  const auto open_all = [&] {
    for (int i = 0; i < kSplitCount; ++i) {
      const Split split = static_cast<Split>(i);
      if (config.data.mock_data) {
        datasets_[i] = std::make_unique<MockDataset>(std::max<std::int64_t>(wanted[i], 1), config.model.seq_length,
                                                     vocab_size_, static_cast<std::uint64_t>(config.precision.seed) + i);
      } else {
        datasets_[i] = open_split(job, split, wanted[i]);
      }
    }
    if (datasets_[0] == nullptr && !config.batch.skip_train) {
      throw ConfigError("there is no training data: give --split a share for training, or --train-data-path");
    }
  };
  // Rank 0 builds and caches what is missing; then the others find it.
  together(job.world(), [&] { if (job.is_first_rank()) open_all(); });
  together(job.world(), [&] { if (!job.is_first_rank()) open_all(); });
  if (job.is_first_rank()) print_line("> finished creating GPT datasets ...");
}

std::unique_ptr<Loader> TrainingData::loader(Split split, std::int64_t consumed_samples) const {
  const Config& config = job_.config();
  const ParallelState& parallel = job_.parallel();
  const Dataset& dataset = *datasets_[index(split)];
  Sampler sampler;
  sampler.order = config.data.dataloader_type == "cyclic" ? SampleOrder::cyclic : SampleOrder::single;
  sampler.dataset_size = dataset.size();
  sampler.micro_batch_size = config.batch.micro_batch_size;
  sampler.data_parallel_size = parallel.dp_size();
  sampler.data_parallel_rank = parallel.dp_rank();
  sampler.seed = static_cast<std::uint64_t>(config.precision.seed);
  LoaderOptions options;
  const SequenceLayout layout = zigzag_layout(config.model.seq_length, parallel.cp_size());
  for (const PositionRange& range : batch_slice(layout, parallel.cp_rank())) {
    options.ranges.push_back({range.begin, range.end});
  }
  options.vocab_size = vocab_size_;
  options.end_of_document = end_of_document_;
  options.mask_end_of_document = config.data.eod_mask_loss;
  options.reset_position_ids = config.data.reset_position_ids;
  return std::make_unique<Loader>(dataset, sampler, options, consumed_samples);
}

DeviceBatch to_device(const MicroBatch& batch, const Job& job) {
  const auto integers = [&](const std::vector<std::int64_t>& values, at::IntArrayRef shape) {
    // A copy: the batch's vectors go with it.
    return at::from_blob(const_cast<std::int64_t*>(values.data()), shape, at::kLong)
        .to(job.device(), at::kLong, /*non_blocking=*/false, /*copy=*/true);
  };
  DeviceBatch out;
  out.input.tokens = integers(batch.tokens, {batch.batch, batch.length});
  out.input.labels = integers(batch.labels, {batch.batch, batch.length});
  out.input.position_ids = integers(batch.position_ids, {batch.batch, batch.length});
  out.input.positions = integers(batch.global_positions, {batch.length});
  out.input.sample_numbers = batch.sample_numbers;
  const at::ScalarType loss_type = job.compute_type() == at::kDouble ? at::kDouble : at::kFloat;
  out.loss_mask = at::from_blob(const_cast<float*>(batch.loss_mask.data()), {batch.batch, batch.length}, at::kFloat)
                      .t()
                      .contiguous()
                      .to(job.device(), loss_type, false, true);
  out.unmasked_tokens = 0;
  for (const float m : batch.loss_mask) out.unmasked_tokens += m != 0.0f;
  return out;
}

}  // namespace ringtron

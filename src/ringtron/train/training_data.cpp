#include "ringtron/train/training_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"
#include "ringtron/base/log.h"
#include "ringtron/base/text.h"
#include "ringtron/config/batch/batch_schedule.h"
#include "ringtron/data/document_ends.h"
#include "ringtron/data/mock_dataset.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/assembly.h"
#include "ringtron/train/batch/batch_loader.h"
#include "ringtron/train/data_config.h"

namespace ringtron {
namespace {

// Rank 0 tells what each corpus gives, and which one gives nothing.
void tell(Split split, const std::string& prefix, const GptDataset& dataset) {
  print_line(" > {} of {}: tokens per epoch {}, total number of samples: {}, total number of epochs: {}",
             split_name(split), prefix, dataset.sizes().tokens_per_epoch, dataset.sizes().samples,
             dataset.sizes().epochs);
  if (!dataset.cache_refused().empty()) {
    warn_line("a cached sample index was not used, and built anew: {}", dataset.cache_refused());
  }
  if (!dataset.cache_problem().empty()) {
    warn_line("the sample index of {} could not be cached: {}", prefix, dataset.cache_problem());
  }
}

// A few reads of a network file system; corpora below it are compared whole.
constexpr std::int64_t kMostBytes = 16 << 20, kMostBytesOfMany = 1 << 20;
constexpr std::size_t kMany = 16;  // corpora

// What a corpus holds: checksums of its index, and of all its tokens or, of a large one, of pieces of them; fewer where
// `corpora_before` it have been looked at already.
CorpusFacts look_at(const IndexedDataset& corpus, std::size_t corpora_before) {
  return facts_of(corpus, corpora_before < kMany ? kMostBytes : kMostBytesOfMany);
}

// The flags among the given ones that look for the end-of-document token.
std::string reset_flags(const DataConfig& data) {
  std::vector<std::string> flags;
  if (data.reset_position_ids) flags.emplace_back("--reset-position-ids");
  if (data.reset_attention_mask) flags.emplace_back("--reset-attention-mask");
  if (data.eod_mask_loss) flags.emplace_back("--eod-mask-loss");
  return join(flags, ", ");
}

// As Megatron-LM counts them. A run that goes on with a smaller global batch has consumed more than its iterations say,
// and needs as many more.
std::array<std::int64_t, kSplitCount> wanted_from(const ResolvedConfig& config, const Progress& progress) {
  auto wanted = wanted_samples(config);
  const std::int64_t to_come = std::max<std::int64_t>(iterations_of(config) - progress.iteration, 0);
  if (!config->batch.skip_train) {
    wanted[0] = std::max(wanted[0], batch_schedule(config).samples_after(progress.consumed_train_samples, to_come));
  }
  return wanted;
}

}  // namespace

TrainingData::TrainingData(const Job& job, std::vector<CpTransport> transports, const Progress& progress)
    : job_(job),
      transports_(std::move(transports)),
      vocab_size_(job.tokenizer().vocab_size()),
      end_of_document_(job.tokenizer().eod()) {
  const ResolvedConfig& config = job.config();
  const auto wanted = wanted_from(config, progress);
  if (job.is_first_rank()) {
    print_line("> building train, validation, and test datasets ...");
    print_line(" > datasets target sizes (minimum size):");
    print_line("    train:      {}", wanted[0]);
    print_line("    validation: {}", wanted[1] == kWholeSplit ? "None" : std::to_string(wanted[1]));
    print_line("    test:       {}", wanted[2]);
  }
  const auto open_all = [&] {
    for (std::size_t i = 0; i < kSplitCount; ++i) open(static_cast<Split>(i), wanted[i]);
    require_training_data(wanted[0]);
  };
  // Rank 0 builds and caches what is missing; then the others find it.
  run_collectively(job.world(), [&] {
    if (job.is_first_rank()) open_all();
  });
  run_collectively(job.world(), [&] {
    if (!job.is_first_rank()) open_all();
  });
  require_same_data(job.world(), same_data_);
  if (job.is_first_rank()) print_line("> finished creating GPT datasets ...");
}

void TrainingData::open(Split split, std::int64_t wanted) {
  const ResolvedConfig& config = job_.config();
  auto& sets = datasets_[index(split)];
  sets.clear();
  if (config->data.mock_data) {
    sets.push_back(std::make_unique<MockDataset>(std::max<std::int64_t>(wanted, 1), config->model.seq_length,
                                                 vocab_size_,
                                                 static_cast<std::uint64_t>(config->precision.seed) + index(split)));
    validation_names_ = {""};
  } else if (split == Split::valid) {
    validation_names_.clear();
    for (const ValidationSet& set : validation_sets(config)) {
      sets.push_back(open_split(set.sources, split, wanted, observer(split)));
      validation_names_.push_back(set.name);
    }
  } else {
    sets.push_back(open_split(sources_of(config), split, wanted, observer(split)));
  }
}

bool TrainingData::has(Split split) const {
  return std::ranges::any_of(datasets_[index(split)], [](const auto& set) { return set != nullptr; });
}

const std::string& TrainingData::set_name(Split split, int set) const {
  static const std::string kNone;
  return split == Split::valid ? validation_names_[static_cast<std::size_t>(set)] : kNone;
}

std::int64_t TrainingData::samples(Split split, int set) const {
  return datasets_[index(split)][static_cast<std::size_t>(set)]->size();
}

SplitObserver TrainingData::observer(Split split) {
  const std::string resets = reset_flags(job_.config()->data);
  SplitObserver out;
  if (job_.is_first_rank()) out.left_out = [](const std::string& sentence) { warn_line(sentence); };
  out.opened = [this, split, resets](const std::string& prefix, const GptDataset& dataset) {
    const IndexedDataset& corpus = dataset.corpus();
    const bool is_new = !same_data_.contains(prefix);
    if (is_new) {
      facts_.push_back(look_at(corpus, facts_.size()));
      same_data_[prefix] = fmt::format("index {}, tokens {}", facts_.back().index_hash, facts_.back().content_hash);
    }
    same_data_[prefix] += fmt::format(", {} order {}", split_name(split), hex64(dataset.order_hash()));
    if (!job_.is_first_rank()) return;
    tell(split, prefix, dataset);
    if (is_new && !resets.empty() && !has_token_at_an_end(corpus, end_of_document_)) {
      warn_line(
          "{}: no end-of-document token ({}) was found in {}, so nothing is reset or masked there. Make it again "
          "with preprocess_data --append-eod, or leave the flag out",
          resets, end_of_document_, prefix);
    }
  };
  return out;
}

void TrainingData::require_training_data(std::int64_t wanted) const {
  const ResolvedConfig& config = job_.config();
  if (config->batch.skip_train) return;
  const Dataset* training = datasets_[0][0].get();
  if (training == nullptr) {
    throw ConfigError(fmt::format("there is no training data: {}", config->data.data_path.empty()
                                                                       ? "give --train-data-path"
                                                                       : "give --split a share for training"));
  }
  if (config->data.dataloader_type != DataloaderType::cyclic && training->size() < wanted) {
    throw ConfigError(
        fmt::format("data: training wants {} samples, and several corpora without weights are read once: {} "
                    "samples. Give weights (\"1 A 1 B\": each corpus is then read as often as needed), "
                    "--dataloader-type cyclic, or fewer samples (--train-samples {})",
                    wanted, training->size(), training->size()));
  }
}

void TrainingData::report_evaluation(std::int64_t consumed_valid_samples, std::int64_t samples_to_come) const {
  const ResolvedConfig& config = job_.config();
  if (!job_.is_first_rank() || !config->evaluation.is_on()) return;
  if (!has(Split::valid)) {
    if (has_share(sources_of(config), Split::valid)) {
      warn_line("there is no validation: no corpus has data for it, see above");
    } else {
      print_line("no validation: {}",
                 config->data.data_path.empty() ? "--valid-data-path is not given" : "--split gives it no share");
    }
    return;
  }
  for (int set = 0; set < sets(Split::valid); ++set) {
    if (!has(Split::valid, set)) {
      warn_line("validation set {} has no data and is left out, see above", set_name(Split::valid, set));
    } else if (samples_to_come > 0 && config->data.dataloader_type != DataloaderType::cyclic) {
      report_repetition(set, consumed_valid_samples, samples_to_come);
    }
  }
}

void TrainingData::report_repetition(int set, std::int64_t consumed, std::int64_t to_come) const {
  const std::int64_t size = samples(Split::valid, set);
  const std::string& name = set_name(Split::valid, set);
  if (consumed + to_come <= size) return;
  warn_line(
      "validation{} has {} samples; {} are consumed and up to {} are to come. It starts over each time it reaches the "
      "end, now at sample {} (another --eval-interval or --eval-iters than before, or corpora without weights)",
      name.empty() ? "" : " set " + name, size, consumed, to_come, consumed % size);
}

std::unique_ptr<DataLoader> TrainingData::loader(Split split, std::int64_t consumed_samples, int set) const {
  const Dataset& dataset = *datasets_[index(split)][static_cast<std::size_t>(set)];
  return batch_loader({job_, dataset, transports_}, split, consumed_samples);
}

}  // namespace ringtron

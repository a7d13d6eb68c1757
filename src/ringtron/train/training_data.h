// The run's datasets and the loaders over them, as the data flags ask.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ringtron/data/data_loader.h"
#include "ringtron/data/dataset.h"
#include "ringtron/data/dataset_split.h"
#include "ringtron/data/open_split.h"
#include "ringtron/tokenizer/tokenizer.h"
#include "ringtron/train/batch/device_batch.h"
#include "ringtron/train/batch_shape.h"
#include "ringtron/train/data_facts.h"
#include "ringtron/train/job.h"
#include "ringtron/train/progress.h"

namespace ringtron {

class TrainingData {
 public:
  // Opens the corpora and builds or maps their indices. Collective; throws the same error on all ranks, also where a
  // rank has other data than the others. Rank 0 prints Megatron's lines about it, and what is left out.
  // `transports`: of each layer (layer_transports.h). `progress`: where the run goes on.
  TrainingData(const Job& job, std::vector<CpTransport> transports, const Progress& progress = {});

  // Whether any set of the split is there.
  bool has(Split split) const;

  // Sets of the split, counted from 0; one, unless there are several of validation. One may have no data.
  int sets(Split split) const { return static_cast<int>(datasets_[index(split)].size()); }
  bool has(Split split, int set) const { return datasets_[index(split)][static_cast<std::size_t>(set)] != nullptr; }
  // Empty where there is only one.
  const std::string& set_name(Split split, int set) const;
  // Of a set that is there.
  std::int64_t samples(Split split, int set) const;

  // What the corpora hold, the same on all ranks. None for mock data.
  const DataFacts& facts() const { return facts_; }

  // This rank's micro-batches from the first sample that is not consumed; each carries its BatchShape in made_from.
  // Must end before this does. `split` must be there. Training ends with the data; validation and test start over.
  std::unique_ptr<DataLoader> loader(Split split, std::int64_t consumed_samples, int set = 0) const;

  // Rank 0 says at the start if there is no validation, or if it will start over: `consumed_valid_samples` of each set
  // are consumed, and at most `samples_to_come` follow.
  void report_evaluation(std::int64_t consumed_valid_samples, std::int64_t samples_to_come) const;

 private:
  SplitObserver observer(Split split);
  void require_training_data(std::int64_t wanted) const;
  void open(Split split, std::int64_t wanted);
  void report_repetition(int set, std::int64_t consumed, std::int64_t to_come) const;
  static std::size_t index(Split split) { return static_cast<std::size_t>(split); }

  const Job& job_;
  const std::vector<CpTransport> transports_;
  std::int64_t vocab_size_;
  std::int64_t end_of_document_;
  std::array<std::vector<std::unique_ptr<Dataset>>, kSplitCount> datasets_;
  std::vector<std::string> validation_names_;
  DataFacts facts_;
  std::map<std::string, std::string> same_data_;  // by corpus: what must be the same on all ranks
};

}  // namespace ringtron

// What a command line says of data, as the libraries below want it: for training, and for tools that show what it
// reads.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ringtron/config/config.h"
#include "ringtron/data/dataset_split.h"
#include "ringtron/data/open_split.h"
#include "ringtron/tokenizer/tokenizer.h"

namespace ringtron {

DataSources sources_of(const Config& config);

// What --multiple-validation-sets makes of the validation corpora; one without a name if it is not given.
struct ValidationSet {
  std::string name;  // of --validation-set-names, or its number
  DataSources sources;
};
// Throws ConfigError for weights, and for names that are not as many as the corpora.
std::vector<ValidationSet> validation_sets(const Config& config);

// Samples that the whole run reads of each split, of validation: of each set.
std::array<std::int64_t, kSplitCount> wanted_samples(const Config& config);

// The tokenizer of the data flags.
std::unique_ptr<Tokenizer> tokenizer_of(const DataConfig& data);

}  // namespace ringtron

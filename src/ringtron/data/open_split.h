// Opens one split of the corpora that the data flags name: one corpus, or a blend. Training and `inspect` both open
// their data here, so that they see the same samples in the same order.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ringtron/data/gpt_dataset.h"

namespace ringtron {

// Values of the flags of the same names.
struct DataSources {
  std::vector<std::string> data_path;  // cut by `split`; or a path of its own for each split:
  std::vector<std::string> train_data_path, valid_data_path, test_data_path;
  std::string split;  // empty: kDefaultSplit
  std::int64_t sequence_length = 0;
  std::uint32_t seed = 0;
  std::string cache_folder;  // of the sample index; empty: beside the data
};

// Called for each corpus that was opened.
using CorpusOpened = std::function<void(const std::string& prefix, const GptDataset& dataset)>;

// A dataset of at least `wanted` samples. Null if nothing is wanted or the split has no share of the data. Builds and
// caches the sample index where it is missing. Throws ConfigError for a path or a share that cannot give samples.
std::unique_ptr<Dataset> open_split(const DataSources& sources, Split split, std::int64_t wanted,
                                    const CorpusOpened& opened);

}  // namespace ringtron

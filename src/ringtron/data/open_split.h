// Opens one split of the corpora that the data flags name: one corpus, or a blend. Training and `inspect` both open
// their data here, so that they see the same samples in the same order: that of megatron-core's
// BlendedMegatronDatasetBuilder.
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

// What the caller wants to hear of; either may be empty.
struct SplitObserver {
  // Each corpus that was opened.
  std::function<void(const std::string& prefix, const GptDataset& dataset)> opened;
  // A sentence about a corpus that is left out, because it has nothing for this split, or (training)
  // whose weight is worth less than one sample.
  std::function<void(const std::string& sentence)> left_out;
};

// A dataset for `wanted` samples:
// - one corpus: at least so many, the corpus again and again;
// - a blend with weights: a few more, each corpus as often as its weight needs;
// - a blend without: each corpus once, and so at most as many as all of them have.
// With kWholeSplit: each corpus once; ConfigError for a blend with weights, which has no end.
// Null if nothing is wanted or the split has no share of the data. A corpus that has nothing for the split is left out
// of validation and test, and of a blend without weights; for other training data it is an error. Builds and caches the
// sample index where it is missing. Throws ConfigError for a path or a share that cannot give samples.
std::unique_ptr<Dataset> open_split(const DataSources& sources, Split split, std::int64_t wanted,
                                    const SplitObserver& observer);

// Throws what open_split() would throw for a corpus of which a file is absent, and looks at nothing else.
void require_corpus_files(const DataSources& sources, Split split, std::int64_t wanted);

// Whether the data flags give `split` a share at all.
bool has_share(const DataSources& sources, Split split);

}  // namespace ringtron

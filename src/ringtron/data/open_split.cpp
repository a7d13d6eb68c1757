#include "ringtron/data/open_split.h"

#include <optional>
#include <utility>

#include "ringtron/data/blended_dataset.h"

namespace ringtron {
namespace {

// What one split is made from: corpora with weights, and the share of each that belongs to the split.
struct SplitSource {
  Blend blend;
  std::string shares;  // "99,1,0" over each corpus
};

// --data-path with --split, or a path of its own for each split.
std::optional<SplitSource> source_of(const DataSources& sources, Split split) {
  if (!sources.data_path.empty()) {
    return SplitSource{parse_blend(sources.data_path),
                       sources.split.empty() ? std::string(kDefaultSplit) : sources.split};
  }
  const auto& words = split == Split::train   ? sources.train_data_path
                      : split == Split::valid ? sources.valid_data_path
                                              : sources.test_data_path;
  if (words.empty()) return std::nullopt;
  const char* whole = split == Split::train ? "1,0,0" : split == Split::valid ? "0,1,0" : "0,0,1";
  return SplitSource{parse_blend(words), whole};
}

class SplitOpener {
 public:
  SplitOpener(const DataSources& sources, Split split, const CorpusOpened& opened)
      : sources_(sources), split_(split), opened_(opened) {}

  std::unique_ptr<Dataset> open(const SplitSource& source, std::int64_t wanted) const {
    const Blend& blend = source.blend;
    if (blend.prefixes.size() == 1) return open_corpus(blend.prefixes[0], source.shares, wanted);
    std::vector<double> weights = blend.weights.empty() ? weights_by_size(blend.prefixes) : blend.weights;
    std::vector<std::unique_ptr<Dataset>> parts;
    for (std::size_t i = 0; i < blend.prefixes.size(); ++i) {
      parts.push_back(open_corpus(blend.prefixes[i], source.shares, wanted_of_corpus(wanted, weights[i])));
      if (parts.back() == nullptr) return nullptr;
    }
    return std::make_unique<BlendedDataset>(std::move(parts), std::move(weights), wanted);
  }

 private:
  static std::vector<double> weights_by_size(const std::vector<std::string>& prefixes) {
    std::vector<double> weights;
    double total = 0;
    for (const auto& prefix : prefixes) weights.push_back(static_cast<double>(IndexedDataset(prefix).tokens()));
    for (const double w : weights) total += w;
    for (double& w : weights) w /= total;
    return weights;
  }

  std::unique_ptr<Dataset> open_corpus(const std::string& prefix, const std::string& shares, std::int64_t wanted) const {
    auto corpus = std::make_shared<const IndexedDataset>(prefix);
    const auto range = split_sequences(shares, corpus->sequences())[static_cast<std::size_t>(split_)];
    if (!range || range->size() == 0) return nullptr;
    GptDatasetOptions options;
    options.split = split_;
    options.index.sequences = *range;
    options.index.sequence_length = sources_.sequence_length;
    options.index.seed = sources_.seed;
    options.index.samples = wanted;
    options.cache_folder = sources_.cache_folder;
    auto dataset = std::make_unique<GptDataset>(std::move(corpus), options);
    if (opened_) opened_(prefix, *dataset);
    return dataset;
  }

  const DataSources& sources_;
  const Split split_;
  const CorpusOpened& opened_;
};

}  // namespace

std::unique_ptr<Dataset> open_split(const DataSources& sources, Split split, std::int64_t wanted,
                                    const CorpusOpened& opened) {
  const auto source = source_of(sources, split);
  if (!source || wanted == 0) return nullptr;
  return SplitOpener(sources, split, opened).open(*source, wanted);
}

}  // namespace ringtron

#include "ringtron/data/open_split.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/data/blended_dataset.h"
#include "ringtron/data/corpus_files.h"

namespace ringtron {
namespace {

// What one split is made from: corpora with weights, and the share of each that belongs to the split.
struct SplitSource {
  Blend blend;
  std::string shares;  // "99,1,0" over each corpus
  bool whole = false;  // a path of its own, no --split
};

// parse_blend(), with a word for weights at the wrong place: they are prefixes then, of files that do not exist.
Blend blend_of(const std::vector<std::string>& words, std::string_view flag) {
  Blend blend = parse_blend(words, flag);
  for (const std::string& prefix : blend.prefixes) {
    std::error_code error;
    if (!looks_like_weight(prefix) || std::filesystem::exists(prefix + ".idx", error)) continue;
    throw ConfigError(
        fmt::format("{}: {} is read as a prefix here, and there is no file {}.idx. Weight and prefix come "
                    "in turn, the weight first and a plain number (\"0.3 A 0.7 B\"), got \"{}\"",
                    flag, excerpt(prefix), excerpt(prefix), fmt::join(words, " ")));
  }
  return blend;
}

// --data-path with --split, or a path of its own for each split.
std::optional<SplitSource> source_of(const DataSources& sources, Split split) {
  if (!sources.data_path.empty()) {
    return SplitSource{blend_of(sources.data_path, "--data-path"),
                       sources.split.empty() ? std::string(kDefaultSplit) : sources.split};
  }
  const auto& words = split == Split::train   ? sources.train_data_path
                      : split == Split::valid ? sources.valid_data_path
                                              : sources.test_data_path;
  if (words.empty()) return std::nullopt;
  const char* whole = split == Split::train ? "1,0,0" : split == Split::valid ? "0,1,0" : "0,0,1";
  return SplitSource{blend_of(words, fmt::format("--{}-data-path", split_name(split))), whole, true};
}

// The part of one corpus that belongs to the split.
struct Part {
  std::shared_ptr<const IndexedDataset> corpus;
  double weight = 0;  // where the blend has weights
  IndexRange sequences;
  std::int64_t tokens = 0;
};

class SplitOpener {
 public:
  SplitOpener(const DataSources& sources, Split split, const SplitObserver& observer)
      : sources_(sources), split_(split), observer_(observer) {}

  std::unique_ptr<Dataset> open(const SplitSource& source, std::int64_t wanted) const {
    const Blend& blend = source.blend;
    // The judge drops the weight of a single corpus with a path of its own, and not that of one in --data-path.
    const bool all = wanted == kWholeSplit;
    const bool plain = blend.prefixes.size() == 1 && (blend.weights.empty() || source.whole || all);
    const bool once = all || (!plain && blend.weights.empty());
    if (all && !plain && !blend.weights.empty()) {
      throw ConfigError(
          fmt::format("--full-validation: expected corpora without weights, each of which is read once, got {} with "
                      "weights. Leave them out, or use --eval-iters",
                      blend.prefixes.size()));
    }
    const std::vector<Part> parts = usable_parts(source, once);
    if (parts.empty()) return nullptr;
    if (plain) return open_part(parts[0], all ? std::nullopt : std::optional(wanted));
    return once ? open_by_size(parts, wanted) : open_by_weight(parts, blend.prefixes.size(), wanted);
  }

 private:
  // Tells about those that it leaves out.
  std::vector<Part> usable_parts(const SplitSource& source, bool once) const {
    std::vector<Part> parts;
    for (std::size_t i = 0; i < source.blend.prefixes.size(); ++i) {
      Part part;
      part.corpus = std::make_shared<const IndexedDataset>(source.blend.prefixes[i]);
      if (!source.blend.weights.empty()) part.weight = source.blend.weights[i];
      const auto range = split_sequences(source.shares, part.corpus->sequences())[static_cast<std::size_t>(split_)];
      if (!range) return {};  // the same for all corpora
      part.sequences = *range;
      for (std::int64_t s = range->begin; s < range->end; ++s) part.tokens += part.corpus->sequence_length(s);
      const std::int64_t least = once ? sources_.sequence_length + 1 : 1;
      if (part.tokens >= least) {
        parts.push_back(std::move(part));
      } else {
        leave_out(part, source, once);
      }
    }
    return parts;
  }

  void leave_out(const Part& part, const SplitSource& source, bool once) const {
    const std::string& prefix = part.corpus->prefix();
    std::string why;
    if (part.corpus->tokens() == 0) {
      why = fmt::format("{} is empty: {} documents, no tokens. Make it again with preprocess_data, or leave it out",
                        prefix, part.corpus->documents());
    } else if (once && part.tokens > 0) {
      why = fmt::format(
          "{} has {} tokens for it, less than one sample of {} + 1. Give weights, more data, or a shorter "
          "--seq-length",
          prefix, part.tokens, sources_.sequence_length);
    } else {
      why = fmt::format(
          "--split {} gives it {} of the {} sequences of {}, with no tokens. Give it a larger share, more "
          "data, or a path of its own (--{}-data-path)",
          source.shares, part.sequences.size(), part.corpus->sequences(), prefix, split_name(split_));
    }
    if (split_ == Split::train && !once) throw ConfigError(fmt::format("data: nothing to train on: {}", why));
    if (observer_.left_out) {
      observer_.left_out(fmt::format("{}: a corpus is left out: {}", split_name(split_), why));
    }
  }

  std::unique_ptr<Dataset> open_by_weight(const std::vector<Part>& parts, std::size_t of, std::int64_t wanted) const {
    std::vector<double> weights;
    for (const Part& part : parts) weights.push_back(part.weight);
    // What was left out gives its share to the others. Nothing left out: the weights stay as the judge rounds them.
    if (parts.size() < of) weights = normalized(std::move(weights));
    std::vector<std::unique_ptr<Dataset>> datasets;
    std::int64_t size = 0;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      datasets.push_back(open_part(parts[i], wanted_of_corpus(wanted, weights[i])));
      size += wanted_of_corpus(wanted, weights[i], 0);
    }
    auto blended = std::make_unique<BlendedDataset>(std::move(datasets), weights, size);
    if (split_ == Split::train) note_small_weights(parts, weights, wanted, *blended);
    return blended;
  }

  // The order is Megatron's all the same: it may take one sample, or none.
  void note_small_weights(const std::vector<Part>& parts, const std::vector<double>& weights, std::int64_t wanted,
                          const BlendedDataset& blended) const {
    if (!observer_.left_out) return;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (weights[i] * static_cast<double>(wanted) >= 1) continue;
      const auto taken = std::ranges::count(blended.index().dataset, static_cast<std::int16_t>(i));
      observer_.left_out(fmt::format(
          "{}: the weight of {} ({:.4g} of 1) is worth less than one of {} samples; {} {} read of it",
          split_name(split_), parts[i].corpus->prefix(), weights[i], wanted, taken, taken == 1 ? "is" : "are"));
    }
  }

  std::unique_ptr<Dataset> open_by_size(const std::vector<Part>& parts, std::int64_t wanted) const {
    std::vector<double> weights;
    std::vector<std::unique_ptr<Dataset>> datasets;
    std::int64_t size = 0;
    for (const Part& part : parts) {
      datasets.push_back(open_part(part, std::nullopt));
      size += datasets.back()->size();
      weights.push_back(static_cast<double>(datasets.back()->size()));
    }
    return std::make_unique<BlendedDataset>(std::move(datasets), std::move(weights), std::min(size, wanted));
  }

  std::unique_ptr<Dataset> open_part(const Part& part, std::optional<std::int64_t> samples) const {
    GptDatasetOptions options;
    options.split = split_;
    options.index.sequences = part.sequences;
    options.index.sequence_length = sources_.sequence_length;
    options.index.seed = sources_.seed;
    options.index.samples = samples;
    options.cache_folder = sources_.cache_folder;
    auto dataset = std::make_unique<GptDataset>(part.corpus, options);
    if (observer_.opened) observer_.opened(part.corpus->prefix(), *dataset);
    return dataset;
  }

  const DataSources& sources_;
  const Split split_;
  const SplitObserver& observer_;
};

}  // namespace

std::unique_ptr<Dataset> open_split(const DataSources& sources, Split split, std::int64_t wanted,
                                    const SplitObserver& observer) {
  const auto source = source_of(sources, split);
  if (!source || wanted == 0) return nullptr;
  return SplitOpener(sources, split, observer).open(*source, wanted);
}

void require_corpus_files(const DataSources& sources, Split split, std::int64_t wanted) {
  const auto source = source_of(sources, split);
  if (!source || wanted == 0) return;
  for (const std::string& prefix : source->blend.prefixes) {
    for (const char* extension : {".idx", ".bin"}) corpus_file(prefix, extension);
  }
}

bool has_share(const DataSources& sources, Split split) {
  const auto source = source_of(sources, split);
  return source && split_sequences(source->shares, 1)[static_cast<std::size_t>(split)].has_value();
}

}  // namespace ringtron

#include "ringtron/data/gpt_index.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/data/numpy_random.h"

namespace ringtron {
namespace {

// A final epoch of which less than this share is wanted is shuffled on its own, so that the samples asked for
// do not lean towards it.
constexpr double kFinalEpochShare = 0.80;

std::int64_t count_tokens(const IndexedDataset& corpus, const IndexRange& sequences) {
  std::int64_t tokens = 0;
  for (std::int64_t s = sequences.begin; s < sequences.end; ++s) tokens += corpus.sequence_length(s);
  return tokens;
}

void append_epochs(std::vector<std::int32_t>& documents, const IndexRange& sequences, std::int64_t epochs,
                   NumpyRandomState& random) {
  const std::size_t begin = documents.size();
  for (std::int64_t epoch = 0; epoch < epochs; ++epoch) {
    for (std::int64_t s = sequences.begin; s < sequences.end; ++s) documents.push_back(static_cast<std::int32_t>(s));
  }
  random.shuffle(std::span(documents).subspan(begin));
}

std::vector<SampleStart> cut_samples(const IndexedDataset& corpus, std::span<const std::int32_t> documents,
                                     std::int64_t sequence_length, std::int64_t samples) {
  std::vector<SampleStart> starts;
  starts.reserve(static_cast<std::size_t>(samples + 1));
  starts.push_back({});
  SampleStart at;
  while (static_cast<std::int64_t>(starts.size()) <= samples) {
    std::int64_t remaining = sequence_length + 1;
    while (remaining > 0) {
      const auto document = documents[static_cast<std::size_t>(at.document)];
      const std::int64_t left = corpus.sequence_length(document) - at.offset;
      remaining -= left;
      if (remaining <= 0) {
        at.offset += remaining + left - 1;  // the last token is the first one of the next sample
      } else if (at.document + 1 == static_cast<std::int64_t>(documents.size())) {
        at.offset = corpus.sequence_length(document) - 1;
        break;
      } else {
        ++at.document;
        at.offset = 0;
      }
    }
    starts.push_back(at);
  }
  return starts;
}

using Wide = __int128;

// Throws ConfigError for an index that the format, or this machine's memory, cannot hold.
void require_size(const IndexedDataset& corpus, const GptIndexRequest& request, Wide epochs, Wide samples) {
  constexpr Wide kLargest = std::numeric_limits<std::int32_t>::max();
  if (request.sequences.end > kLargest || epochs > kLargest) {
    throw ConfigError(fmt::format(
        "data: {} has {} sequences and {:.10g} passes over it are asked for; expected at most {} of each. Divide "
        "the corpus, or train fewer samples",
        corpus.prefix(), corpus.sequences(), static_cast<double>(epochs), static_cast<std::int64_t>(kLargest)));
  }
  const Wide bytes = epochs * request.sequences.size() * 4 + samples * 24;
  const Wide memory = static_cast<Wide>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
  if (bytes > memory) {
    throw ConfigError(
        fmt::format("data: the order of {:.3g} samples of {} ({:.3g} passes) takes {:.3g} GB of memory, and the "
                    "machine has {:.3g}. Train fewer samples (--train-iters, --train-samples, --eval-iters), or "
                    "give more data",
                    static_cast<double>(samples), corpus.prefix(), static_cast<double>(epochs),
                    static_cast<double>(bytes) * 1e-9, static_cast<double>(memory) * 1e-9));
  }
}

}  // namespace

GptIndexSizes gpt_index_sizes(const IndexedDataset& corpus, const GptIndexRequest& request) {
  const std::int64_t s = request.sequence_length;
  RT_CHECK(s > 0, "sequence length {}", s);
  RT_CHECK(request.sequences.begin >= 0 && request.sequences.end <= corpus.sequences(), "sequences [{}, {}) of {}",
           request.sequences.begin, request.sequences.end, corpus.sequences());
  GptIndexSizes sizes;
  sizes.tokens_per_epoch = count_tokens(corpus, request.sequences);
  const bool too_short = request.samples ? sizes.tokens_per_epoch < 1 : sizes.tokens_per_epoch < s + 1;
  if (too_short) {
    throw ConfigError(
        fmt::format("data: {} gives {} tokens in {} of its {} sequences; expected at least {}. Give {}more data, or a "
                    "shorter --seq-length",
                    corpus.prefix(), sizes.tokens_per_epoch, request.sequences.size(), corpus.sequences(),
                    request.samples ? 1 : s + 1,
                    request.sequences.size() < corpus.sequences() ? "it a larger share of --split, " : ""));
  }
  // Numbers of any size may be asked for: 128 bits hold their products.
  const Wide wanted_tokens = static_cast<Wide>(request.samples.value_or(0)) * s + 1;
  const Wide epochs = std::max<Wide>(1, (wanted_tokens + sizes.tokens_per_epoch - 1) / sizes.tokens_per_epoch);
  const Wide samples = (epochs * sizes.tokens_per_epoch - 1) / s;
  require_size(corpus, request, epochs, samples);
  sizes.epochs = static_cast<std::int64_t>(epochs);
  sizes.samples = static_cast<std::int64_t>(samples);
  sizes.samples_before_final_epoch = sizes.samples;
  if (sizes.epochs > 1) {
    const std::int64_t before = ((sizes.epochs - 1) * sizes.tokens_per_epoch - 1) / s;
    const std::int64_t per_epoch = (sizes.tokens_per_epoch - 1) / s;
    const auto threshold = static_cast<std::int64_t>(kFinalEpochShare * static_cast<double>(per_epoch));
    if (*request.samples - before < threshold) sizes.samples_before_final_epoch = before;
  }
  return sizes;
}

GptIndex build_gpt_index(const IndexedDataset& corpus, const GptIndexRequest& request) {
  GptIndex index;
  index.sizes = gpt_index_sizes(corpus, request);
  // One stream of random numbers for everything: documents first, then samples.
  NumpyRandomState random(request.seed);
  const bool separate = index.sizes.separate_final_epoch();
  index.documents.reserve(static_cast<std::size_t>(index.sizes.epochs * request.sequences.size()));
  append_epochs(index.documents, request.sequences, index.sizes.epochs - (separate ? 1 : 0), random);
  if (separate) append_epochs(index.documents, request.sequences, 1, random);
  index.starts = cut_samples(corpus, index.documents, request.sequence_length, index.sizes.samples);
  index.order.resize(static_cast<std::size_t>(index.sizes.samples));
  std::iota(index.order.begin(), index.order.end(), std::int64_t{0});
  const auto before = static_cast<std::size_t>(index.sizes.samples_before_final_epoch);
  random.shuffle(std::span(index.order).first(before));
  random.shuffle(std::span(index.order).subspan(before));
  return index;
}

}  // namespace ringtron

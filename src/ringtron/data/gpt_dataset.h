// Fixed-length samples from one part of one corpus, in Megatron's order: documents are joined end to end and
// cut every s tokens (a sample's last token is the next one's first), then the samples are shuffled.
//
// The index is mapped from the cache, or built and put there. Any number of processes may do so at once.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "ringtron/data/dataset.h"
#include "ringtron/data/dataset_split.h"
#include "ringtron/data/gpt_index.h"
#include "ringtron/data/gpt_index_cache.h"

namespace ringtron {

struct GptDatasetOptions {
  Split split = Split::train;
  GptIndexRequest index;
  // Where index files lie; empty: PREFIX/cache/GPTDataset_indices, the folder that Megatron uses too.
  std::filesystem::path cache_folder;
};

class GptDataset : public Dataset {
 public:
  enum class IndexSource { cache, built_and_cached, built };

  // Throws ConfigError if this part of the corpus cannot give a sample, IoError if the corpus is cut off meanwhile. A
  // cache that cannot be used or written is not an error, see cache_refused() and cache_problem().
  GptDataset(std::shared_ptr<const IndexedDataset> corpus, const GptDatasetOptions& options);

  std::int64_t size() const override { return sizes_.samples; }
  std::int64_t sequence_length() const override { return sequence_length_; }
  void read(std::int64_t sample, std::int64_t first, std::int64_t count, std::int32_t* out) const override;
  TokenPlace locate(std::int64_t sample, std::int64_t position) const override;

  const IndexedDataset& corpus() const { return *corpus_; }
  // Equal for equal orders of samples.
  std::uint64_t order_hash() const { return order_hash_; }

  // For the lines that Megatron prints: tokens per epoch, samples, epochs.
  const GptIndexSizes& sizes() const { return sizes_; }
  IndexSource index_source() const { return source_; }
  // Why the index was built but could not be kept; empty if it was.
  const std::string& cache_problem() const { return cache_problem_; }
  // Why a file that was there was not used, with its path; empty if there was none, or it was used.
  const std::string& cache_refused() const { return cache_refused_; }

  std::span<const std::int32_t> document_index() const { return documents_; }
  std::span<const SampleStart> sample_index() const { return starts_; }
  std::span<const std::int64_t> shuffle_index() const { return order_; }

 private:
  void open_index(const GptDatasetOptions& options);
  void copy(std::int64_t sample, std::int64_t first, std::int64_t count, std::int32_t* out) const;
  // Throws IoError if what was read until now may hold zeros in place of bytes that are gone.
  void require_whole() const;
  // Of an index that leads out of the corpus.
  [[noreturn]] void fail_past_the_end(std::int64_t sample) const;
  // Start of token `position` of `sample`.
  SampleStart seek(std::int64_t sample, std::int64_t position) const;

  std::shared_ptr<const IndexedDataset> corpus_;
  std::int64_t sequence_length_;
  // One of these two owns what the spans show.
  std::optional<CachedGptIndex> cached_;
  GptIndex built_;
  GptIndexSizes sizes_;
  std::span<const std::int32_t> documents_;
  std::span<const SampleStart> starts_;
  std::span<const std::int64_t> order_;
  IndexSource source_ = IndexSource::cache;
  std::uint64_t order_hash_ = 0;
  std::string cache_problem_, cache_refused_;
};

}  // namespace ringtron

// The order of a GPT dataset: which documents, cut where, in which order. The same three arrays as Megatron's
// GPTDataset for the same seed, corpus, sequence length and number of samples. Pure arithmetic on sequence
// lengths.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ringtron/data/dataset_split.h"
#include "ringtron/data/indexed_dataset.h"

namespace ringtron {

struct GptIndexRequest {
  IndexRange sequences;              // the part of the corpus
  std::int64_t sequence_length = 0;  // s; samples have s + 1 tokens and overlap by one
  std::uint32_t seed = 0;
  std::optional<std::int64_t> samples;  // at least so many; nothing: one epoch
};

struct GptIndexSizes {
  std::int64_t tokens_per_epoch = 0;
  std::int64_t epochs = 0;
  std::int64_t samples = 0;
  // Samples shuffled before those of a final epoch that is kept apart; equal to `samples` if none is.
  std::int64_t samples_before_final_epoch = 0;
  bool separate_final_epoch() const { return samples_before_final_epoch != samples; }
  bool operator==(const GptIndexSizes&) const = default;
};

// Where a sample starts: position in `documents`, token inside that sequence.
struct SampleStart {
  std::int64_t document = 0;
  std::int64_t offset = 0;
  bool operator==(const SampleStart&) const = default;
};

struct GptIndex {
  GptIndexSizes sizes;
  std::vector<std::int32_t> documents;  // sequence numbers, all epochs in a row
  std::vector<SampleStart> starts;      // samples + 1 rows
  std::vector<std::int64_t> order;      // dataset sample -> row of `starts`
};

// Throws ConfigError if the part of the corpus is empty, too short for one sample, or too large for the
// format.
GptIndexSizes gpt_index_sizes(const IndexedDataset& corpus, const GptIndexRequest& request);

GptIndex build_gpt_index(const IndexedDataset& corpus, const GptIndexRequest& request);

}  // namespace ringtron

// One micro-batch as a rank reads it: tokens, labels, loss mask, position ids.
//
// A rank reads only the positions it owns, or, where these depend on the documents in the samples, the whole samples;
// nothing is sent between ranks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "ringtron/data/dataset.h"
#include "ringtron/data/sampler.h"

namespace ringtron {

// Positions [begin, end) of a sample.
struct ReadRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

// Where documents begin in each sample of a micro-batch: positions after an end of document, ascending, over
// the whole sample. The first document's start, 0, and the end of the sample are not in it.
using DocumentStarts = std::vector<std::vector<std::int64_t>>;

// Those of one sample.
std::vector<std::int64_t> document_starts_in(std::span<const std::int32_t> tokens, std::int64_t end_of_document);

// What a rank reads of each sample of a micro-batch.
struct ReadPlan {
  std::vector<ReadRange> ranges;               // in the order of the batch; none: a rank without tokens
  std::shared_ptr<const void> made_from = {};  // handed on in MicroBatch::made_from; not looked at here
};

// What one rank computes with. b samples, s_local positions each, sample after sample; s_local may be 0.
struct MicroBatch {
  std::int64_t batch = 0;                      // b
  std::int64_t length = 0;                     // s_local
  std::vector<std::int64_t> tokens;            // [b, s_local]
  std::vector<std::int64_t> labels;            // [b, s_local]: the token after each position
  std::vector<float> loss_mask;                // [b, s_local]: 0 or 1
  std::vector<std::int64_t> position_ids;      // [b, s_local]
  std::vector<std::int64_t> sample_numbers;    // [b]: global sample numbers
  std::vector<std::int64_t> global_positions;  // [s_local]: place in the whole sample, also with reset positions
  DocumentStarts document_starts;              // [b], with find_documents; else empty
  std::shared_ptr<const void> made_from;       // ReadPlan's
};

struct MicroBatchOptions {
  // This rank's positions, in the order of the batch; not given: the whole sample.
  std::optional<std::vector<ReadRange>> ranges;
  // In place of `ranges`: asked for each micro-batch, on the loader's thread, with
  // MicroBatch::document_starts.
  std::function<ReadPlan(const DocumentStarts&)> plan;
  std::int64_t vocab_size = 0;  // ids must be in [0, vocab_size)
  std::int64_t end_of_document = -1;
  bool mask_end_of_document = false;  // --eod-mask-loss: no loss where the input is the end of a document
  bool reset_position_ids = false;    // --reset-position-ids: positions start at 0 after the end of a document
  bool find_documents = false;        // --reset-attention-mask: fill MicroBatch::document_starts
  int prefetch = 4;                   // micro-batches that a DataLoader holds ready
};

// One micro-batch of the samples with these global numbers; those that do not count have no loss. Throws ConfigError
// for a token outside the vocabulary, naming prefix, document and position.
MicroBatch read_micro_batch(const Dataset& dataset, const Sampler& sampler, const MicroBatchOptions& options,
                            const std::vector<std::int64_t>& sample_numbers);

}  // namespace ringtron

// How long the documents of a corpus are: what decides on a sequence length, and on how much of a packed sequence a
// token can see.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ringtron/data/indexed_dataset.h"

namespace ringtron {

// In tokens, one for each document, in the order of the corpus.
std::vector<std::int64_t> document_lengths(const IndexedDataset& corpus);

// A line with least, median, mean, 90th percentile and most, and a line for each power of two that has documents: how
// many documents, and what share of all tokens they hold, with bars. Without a last newline; empty for no documents.
std::string describe_lengths(std::vector<std::int64_t> lengths);

}  // namespace ringtron

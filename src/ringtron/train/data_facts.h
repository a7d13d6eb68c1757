// What the corpora of a run hold: kept in its checkpoints, so that a run that goes on with other content under the same
// name says so.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "ringtron/data/indexed_dataset.h"

namespace ringtron {

struct CorpusFacts {
  std::string path;  // as it was given
  std::int64_t documents = 0;
  std::int64_t tokens = 0;
  std::string index_hash, content_hash;
  std::int64_t hashed_bytes =
      0;  // of the tokens, at most: content hashes of other numbers say nothing about each other
};
using DataFacts = std::vector<CorpusFacts>;  // in the order of the flags; empty: not known

// Reads at most `most_bytes` of the tokens.
CorpusFacts facts_of(const IndexedDataset& corpus, std::int64_t most_bytes);

nlohmann::json data_facts_to_json(const DataFacts& facts);
// Of a run's metadata; empty if it was saved before there were any. Throws IoError that names the member.
DataFacts data_facts_of_metadata(const nlohmann::json& metadata);

// A sentence with both numbers for each corpus that had other content when the checkpoint was made. Corpora are the
// same by path, or by place if there are as many as then; one that has only moved is none.
std::vector<std::string> changed_data(const DataFacts& saved, const DataFacts& now);

}  // namespace ringtron

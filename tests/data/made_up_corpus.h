// Small corpora with known tokens, the same as those of tests/golden/make_gpt_dataset_golden.py.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ringtron/data/indexed_dataset_writer.h"

namespace ringtron::testing {

inline std::vector<std::int32_t> made_up_document(std::int64_t d, std::int64_t documents, std::int64_t longest) {
  std::vector<std::int32_t> tokens;
  const std::int64_t length = 1 + (d * 7919 + documents) % longest;
  for (std::int64_t p = 0; p < length; ++p) tokens.push_back(static_cast<std::int32_t>((d * 31 + p) % 997));
  return tokens;
}

inline void write_made_up_corpus(const std::string& prefix, std::int64_t documents, std::int64_t longest) {
  IndexedDatasetWriter writer(prefix, TokenType::u16);
  for (std::int64_t d = 0; d < documents; ++d) {
    writer.add_sequence(made_up_document(d, documents, longest));
    writer.end_document();
  }
  writer.finish();
}

}  // namespace ringtron::testing

// What merge_datasets does: tokenized corpora joined into one, document behind document, without reading a token.
//
// Memory does not grow with the corpora or their number, and two files are open at a time. The output appears complete
// or not at all.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace ringtron {

struct MergeOptions {
  std::vector<std::string> inputs;  // folders (all pairs .bin and .idx in them, sorted by name) and prefixes
  std::string output_prefix;
};

struct MergeSummary {
  std::int64_t corpora = 0;
  std::int64_t documents = 0;
  std::int64_t sequences = 0;
  std::int64_t tokens = 0;
};

// The prefixes that `inputs` name, in order. ConfigError for a folder without any, a file whose other half is missing,
// and a prefix that comes twice.
std::vector<std::string> find_corpora(const std::vector<std::string>& inputs);

// Throws ConfigError, before anything is written, for a corpus that cannot be read, is damaged or holds another type of
// tokens than the first, and for an output that is an input or cannot be written; IoError for files that fail or change
// meanwhile, and when `interrupted` becomes true.
MergeSummary merge_datasets(const MergeOptions& options, const std::function<void(const std::string&)>& progress,
                            const std::atomic<bool>& interrupted);

}  // namespace ringtron

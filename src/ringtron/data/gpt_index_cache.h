// Keeps a GPT dataset's index in a file, so that a second run and the other ranks map it instead of building
// it.
//
// One file per index, <hash>-GPTDataset-<split>.index; our own form, not Megatron's .npy files. The name is
// the hash of a text that describes corpus and request; the text also stands in the file and must match on
// load, and a checksum covers the arrays. A file that does not match is built anew. Several processes may
// build at once: each writes aside and renames, and all write the same bytes. Whatever lies there under the file's
// name, no value of it is used that could lead outside the corpus.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "ringtron/base/guarded_file.h"
#include "ringtron/data/gpt_index.h"

namespace ringtron {

// An index that lies in a mapped file. The spans live as long as the object.
struct CachedGptIndex {
  GuardedFile file;
  GptIndexSizes sizes;
  std::uint64_t arrays_hash = 0;
  std::span<const std::int32_t> documents;
  std::span<const SampleStart> starts;
  std::span<const std::int64_t> order;
};

// What the index depends on, one fact per line.
std::string describe_gpt_index(const IndexedDataset& corpus, const GptIndexRequest& request, Split split);

std::filesystem::path gpt_index_path(const std::filesystem::path& folder, const std::string& description, Split split);

struct CacheLookup {
  std::optional<CachedGptIndex> index;
  std::string refused;  // why a file that is there is not used; empty if there is none
};

// Looks for the index of `request` at `path`. Every value is checked, and the sizes are compared with those of the
// corpus.
CacheLookup load_gpt_index(const std::filesystem::path& path, const std::string& description,
                           const IndexedDataset& corpus, const GptIndexRequest& request);

// A checksum of the three arrays: equal for equal orders.
std::uint64_t hash_arrays(std::span<const SampleStart> starts, std::span<const std::int64_t> order,
                          std::span<const std::int32_t> documents);

// Makes the folder if need be. Throws IoError; then no file is left.
void save_gpt_index(const std::filesystem::path& path, const std::string& description, const GptIndex& index);

}  // namespace ringtron

// Keeps a GPT dataset's index in a file, so that a second run and the other ranks map it instead of building
// it.
//
// One file per index, <hash>-GPTDataset-<split>.index; our own form, not Megatron's .npy files. The name is
// the hash of a text that describes corpus and request; the text also stands in the file and must match on
// load, and a checksum covers the arrays. A file that does not match is built anew. Several processes may
// build at once: each writes aside and renames, and all write the same bytes.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "ringtron/base/file.h"
#include "ringtron/data/gpt_index.h"

namespace ringtron {

// An index that lies in a mapped file. The spans live as long as the object.
struct CachedGptIndex {
  MappedFile file;
  GptIndexSizes sizes;
  std::span<const std::int32_t> documents;
  std::span<const SampleStart> starts;
  std::span<const std::int64_t> order;
};

// What the index depends on, one fact per line.
std::string describe_gpt_index(const IndexedDataset& corpus, const GptIndexRequest& request, Split split);

std::filesystem::path gpt_index_path(const std::filesystem::path& folder, const std::string& description,
                                     Split split);

// Nothing if the file is missing, damaged, or describes something else.
std::optional<CachedGptIndex> load_gpt_index(const std::filesystem::path& path,
                                             const std::string& description);

// Makes the folder if need be. Throws IoError; then no file is left.
void save_gpt_index(const std::filesystem::path& path, const std::string& description, const GptIndex& index);

}  // namespace ringtron

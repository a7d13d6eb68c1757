// Reads any slab of any logical tensor of one checkpoint, however the checkpoint was cut.
//
// Shards are mapped, not read whole. No byte reaches the caller before the checksum of the stored tensor it
// belongs to has been compared. Not thread-safe; every rank has its own reader, and they share the system's
// page cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ringtron/base/file.h"
#include "ringtron/checkpoint/manifest.h"
#include "ringtron/checkpoint/safetensors.h"
#include "ringtron/checkpoint/tensor_slice.h"

namespace ringtron {

class CheckpointReader {
 public:
  // Opens a checkpoint folder (iter_...). Throws IoError that names the file if it is not complete.
  explicit CheckpointReader(std::filesystem::path folder);

  const std::filesystem::path& folder() const { return folder_; }
  std::int64_t iteration() const { return manifest_.iteration; }
  const nlohmann::json& metadata() const { return manifest_.metadata; }
  const Manifest& manifest() const { return manifest_; }

  bool has(std::string_view name) const;
  // Throws ConfigError with the nearest names if the checkpoint has no such tensor.
  const TensorEntry& tensor(std::string_view name) const;

  // Fills `out` with the slab, row-major; `out` must have exactly its size. Throws IoError that names the
  // damaged file.
  void read_slice(std::string_view name, const Slab& slab, std::span<std::byte> out);

  // What was read of the tensor no longer takes memory.
  void release(std::string_view name);

  // Checks every byte of the files first, first + step, first + 2 step, ... in order of name, whether a read
  // needs them or not. With (rank, world size) the ranks together check each file once; what a rank has
  // checked, its reads do not check again. Throws IoError that names the first damaged file.
  void verify(std::size_t first = 0, std::size_t step = 1);

 private:
  struct Shard {
    MappedFile file;
    SafetensorsLayout layout;
    std::set<std::string, std::less<>> verified;  // tensors of this file
  };

  Shard& shard(const std::string& file_name);
  std::span<const std::byte> verified_piece(const TensorEntry& entry, const Piece& piece);
  std::string unknown_tensor_message(std::string_view name) const;

  std::filesystem::path folder_;
  Manifest manifest_;
  std::map<std::string, std::vector<std::pair<const TensorEntry*, const Piece*>>> pieces_by_file_;
  std::map<std::string, Shard> shards_;
};

}  // namespace ringtron

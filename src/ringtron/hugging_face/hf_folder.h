// A folder of the Hugging Face hub: config.json and safetensors, read as tensors of ours.
//
// Shards are mapped, and what was read may be forgotten again, so memory does not grow with the model. Not thread-safe;
// every rank has its own.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "ringtron/base/file.h"
#include "ringtron/checkpoint/safetensors.h"
#include "ringtron/hugging_face/hf_tensors.h"

namespace ringtron {

// Whether it has config.json and safetensors.
bool is_hf_folder(const std::filesystem::path& folder);

class HfFolder {
 public:
  // Reads config.json and the headers of all shards. Throws IoError that names the file for an architecture that is not
  // known, a shard that is missing, and tensors that are missing, of no floating-point type, of another shape than
  // config.json says (with both), or without a place.
  explicit HfFolder(std::filesystem::path folder);

  const std::filesystem::path& path() const { return folder_; }
  const HfModel& model() const { return model_; }
  const std::vector<HfMapping>& tensors() const { return mappings_; }
  // The tensor of ours with this name; nullptr: none.
  const HfMapping* find(const std::string& name) const;
  DType dtype(const HfMapping& tensor) const;

  // Fills `out` with the slab of ours, row-major; `out` has exactly its size.
  void read_slice(const HfMapping& tensor, const Slab& slab, std::span<std::byte> out) const;
  // What was read of it no longer takes memory.
  void release(const HfMapping& tensor) const;

  // The same text on machines that see the same files.
  std::string fingerprint() const;

 private:
  struct Shard {
    MappedFile file;
    SafetensorsLayout layout;
  };
  struct Place {
    const Shard* shard = nullptr;
    const SafetensorsEntry* entry = nullptr;
    std::span<const std::byte> bytes() const {
      return shard->file.bytes().subspan(shard->layout.data_begin + entry->begin, entry->end - entry->begin);
    }
  };

  void open_shards();
  void check_tensors() const;
  [[noreturn]] void refuse(std::vector<std::string> faults) const;
  const Place& place(const std::string& tensor) const { return places_.at(tensor); }

  std::filesystem::path folder_;
  HfModel model_;
  std::map<std::string, Shard> shards_;  // by file name
  std::map<std::string, Place, std::less<>> places_;
  std::vector<HfMapping> mappings_;
  std::map<std::string, std::size_t> numbers_;  // of mappings, by name
};

}  // namespace ringtron

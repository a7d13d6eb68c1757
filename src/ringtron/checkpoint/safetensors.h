// The safetensors container: 8 bytes with the header's length (little endian), the header (JSON, padded with
// spaces so that the data begin at a multiple of 8), then the tensors' bytes without gaps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "ringtron/checkpoint/dtype.h"
#include "ringtron/checkpoint/tensor_slice.h"

namespace ringtron {

struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::uint64_t begin = 0;  // bytes, counted from the first byte after the header
  std::uint64_t end = 0;
};

// The file's bytes up to the first tensor. Requires: entries follow each other without gaps, the first begins
// at 0, and their names differ. Throws ConfigError above 100 MB, which other readers refuse.
std::string safetensors_header(std::span<const SafetensorsEntry> entries);

struct SafetensorsLayout {
  std::uint64_t data_begin = 0;  // from the start of the file
  std::map<std::string, SafetensorsEntry, std::less<>> entries;
};

// Where the header ends. Throws IoError that names `path` if the file is too short for the header it
// announces.
std::uint64_t safetensors_data_begin(std::span<const std::byte> file, const std::filesystem::path& path);

// Reads the header of a whole file. Throws IoError that names `path` for anything that does not fit together.
SafetensorsLayout parse_safetensors(std::span<const std::byte> file, const std::filesystem::path& path);

}  // namespace ringtron

#include "ringtron/checkpoint/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/checkpoint/strict_json.h"

namespace ringtron {
namespace {

constexpr std::size_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
constexpr const char* kMetadataKey = "__metadata__";

[[noreturn]] void damaged(const std::filesystem::path& path, const std::string& what) {
  throw IoError(fmt::format("{} is not an intact safetensors file: {}. Load another checkpoint", path.string(), what));
}

SafetensorsEntry parse_entry(const std::string& name, const nlohmann::json& value) {
  const auto dtype = dtype_named(text_member(value, "dtype", name));
  if (!dtype) throw IoError(fmt::format("{}: unknown dtype {}", name, shown(value.at("dtype"))));
  SafetensorsEntry entry{name, *dtype, {}, 0, 0};
  for (const auto& size : array_member(value, "shape", name)) entry.shape.push_back(integer(size, name + ".shape", 0));
  const auto& offsets = array_member(value, "data_offsets", name);
  if (offsets.size() != 2)
    throw IoError(fmt::format("{}.data_offsets: expected 2 numbers, got {}", name, offsets.size()));
  entry.begin = static_cast<std::uint64_t>(integer(offsets[0], name + ".data_offsets", 0));
  entry.end = static_cast<std::uint64_t>(integer(offsets[1], name + ".data_offsets", 0));
  return entry;
}

// Every tensor must have the bytes of its shape, and together they must be the file's data, without gap or
// overlap.
void check_coverage(const SafetensorsLayout& layout, std::uint64_t data_bytes, const std::filesystem::path& path) {
  std::vector<const SafetensorsEntry*> order;
  for (const auto& [name, entry] : layout.entries) order.push_back(&entry);
  std::sort(order.begin(), order.end(),
            [](const auto* a, const auto* b) { return a->begin != b->begin ? a->begin < b->begin : a->end < b->end; });
  std::uint64_t position = 0;
  for (const SafetensorsEntry* entry : order) {
    const auto count = element_count(entry->shape);
    if (!count || entry->begin != position || entry->end < entry->begin ||
        (entry->end - entry->begin) / size_of(entry->dtype) != static_cast<std::uint64_t>(*count) ||
        (entry->end - entry->begin) % size_of(entry->dtype) != 0) {
      damaged(path, fmt::format("tensor {} with shape {} does not fit bytes {}..{}", entry->name,
                                to_string(entry->shape), entry->begin, entry->end));
    }
    position = entry->end;
  }
  if (position != data_bytes) {
    damaged(path, fmt::format("expected {} bytes of data, got {}", position, data_bytes));
  }
}

}  // namespace

std::string safetensors_header(std::span<const SafetensorsEntry> entries) {
  nlohmann::json header = nlohmann::json::object();
  header[kMetadataKey] = {{"format", "pt"}};  // some readers insist on it
  std::uint64_t position = 0;
  for (const SafetensorsEntry& entry : entries) {
    RT_CHECK_EQ(entry.begin, position, "begin of tensor " + entry.name);
    RT_CHECK(!header.contains(entry.name), "tensor {} stands twice in one file", entry.name);
    header[entry.name] = {{"dtype", std::string(name_of(entry.dtype))},
                          {"shape", entry.shape},
                          {"data_offsets", {entry.begin, entry.end}}};
    position = entry.end;
  }
  std::string json = header.dump();
  json.append((kLengthBytes - json.size() % kLengthBytes) % kLengthBytes, ' ');
  if (json.size() > kMaxHeaderBytes) {
    throw ConfigError(
        fmt::format("a shard of {} tensors needs a header of {} bytes, at most {} are allowed. Let more "
                    "ranks write",
                    entries.size(), json.size(), kMaxHeaderBytes));
  }
  std::string bytes;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    bytes.push_back(static_cast<char>(static_cast<std::uint64_t>(json.size()) >> (8 * i) & 0xff));
  }
  return bytes + json;
}

std::uint64_t safetensors_data_begin(std::span<const std::byte> file, const std::filesystem::path& path) {
  if (file.size() < kLengthBytes) damaged(path, fmt::format("it has {} bytes", file.size()));
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) length |= std::to_integer<std::uint64_t>(file[i]) << (8 * i);
  if (length > kMaxHeaderBytes || length > file.size() - kLengthBytes) {
    damaged(path, fmt::format("it announces a header of {} bytes in a file of {}", length, file.size()));
  }
  return kLengthBytes + length;
}

SafetensorsLayout parse_safetensors(std::span<const std::byte> file, const std::filesystem::path& path) {
  SafetensorsLayout layout;
  layout.data_begin = safetensors_data_begin(file, path);
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kLengthBytes,
                              layout.data_begin - kLengthBytes);
  try {
    const auto header = parse_strict(text);
    if (!header.is_object()) throw IoError("its header is not a JSON object");
    for (const auto& [name, value] : header.items()) {
      if (name != kMetadataKey) layout.entries.emplace(name, parse_entry(name, value));
    }
  } catch (const IoError& e) {
    damaged(path, e.what());
  }
  check_coverage(layout, file.size() - layout.data_begin, path);
  return layout;
}

}  // namespace ringtron

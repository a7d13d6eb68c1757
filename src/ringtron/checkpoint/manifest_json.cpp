// The JSON form of manifests and of the parts that ranks send.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"
#include "ringtron/checkpoint/lineage.h"
#include "ringtron/checkpoint/manifest.h"
#include "ringtron/checkpoint/strict_json.h"

namespace ringtron {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "ringtron-checkpoint";
constexpr int kVersion = 1;            // of a manifest without ranges, which older programs read
constexpr int kVersionWithRanges = 2;  // the highest that is understood

// The last field, over the exact bytes before it: also a changed space is noticed, and no canonical form is
// needed.
constexpr std::string_view kHashBegin = ",\n \"xxh3\": \"";
constexpr std::string_view kHashEnd = "\"\n}\n";
constexpr std::size_t kHashDigits = 16;
constexpr std::size_t kTailBytes = kHashBegin.size() + kHashDigits + kHashEnd.size();

std::uint64_t hash_from_text(const std::string& digits) {
  std::uint64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto result = std::from_chars(digits.data(), end, value, 16);
  if (digits.size() != kHashDigits || result.ec != std::errc() || result.ptr != end) {
    throw IoError(fmt::format("\"{}\" is not a checksum of 16 hex digits", digits));
  }
  return value;
}

json to_json(const ShardFile& file) { return {{"bytes", file.bytes}, {"header_xxh3", hex64(file.header_hash)}}; }

ShardFile shard_from_json(const json& value, const std::string& where) {
  const std::int64_t bytes = count_member(value, "bytes", where);
  return {static_cast<std::uint64_t>(bytes), hash_from_text(text_member(value, "header_xxh3", where))};
}

json to_json(const TensorEntry& entry) {
  json pieces = json::array();
  for (const Piece& piece : entry.pieces) {
    json value = {{"file", piece.file},
                  {"tensor", piece.tensor},
                  {"offset", piece.offset},
                  {"length", piece.length},
                  {"xxh3", hex64(piece.hash)}};
    if (piece.range) value["elements"] = {piece.range->begin, piece.range->end};
    pieces.push_back(std::move(value));
  }
  return {{"dtype", std::string(name_of(entry.dtype))},
          {"shape", entry.shape},
          {"dim", entry.dim},
          {"pieces", std::move(pieces)}};
}

std::optional<SlabRange> range_from_json(const json& value, const std::string& where) {
  if (!value.contains("elements")) return std::nullopt;
  const json& ends = array_member(value, "elements", where);
  if (ends.size() != 2) throw IoError(fmt::format("{}.elements: expected 2 numbers, got {}", where, ends.size()));
  return SlabRange{integer(ends[0], where + ".elements[0]", 0), integer(ends[1], where + ".elements[1]", 0)};
}

Piece piece_from_json(const json& value, const std::string& where) {
  return {text_member(value, "file", where),
          text_member(value, "tensor", where),
          count_member(value, "offset", where),
          count_member(value, "length", where),
          hash_from_text(text_member(value, "xxh3", where)),
          range_from_json(value, where)};
}

TensorEntry tensor_from_json(const json& value, const std::string& where) {
  const std::string type = text_member(value, "dtype", where);
  const auto dtype = dtype_named(type);
  if (!dtype) throw IoError(fmt::format("{}.dtype: {} is no type of a tensor", where, shown(type)));
  TensorEntry entry{*dtype, {}, 0, {}};
  const json& shape = array_member(value, "shape", where);
  for (const json& size : shape) entry.shape.push_back(integer(size, where + ".shape", 0));
  entry.dim = static_cast<int>(count_member(value, "dim", where, std::max<std::size_t>(shape.size(), 1) - 1));
  const json& pieces = array_member(value, "pieces", where);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    entry.pieces.push_back(piece_from_json(pieces[i], fmt::format("{}.pieces[{}]", where, i)));
  }
  return entry;
}

json tensors_to_json(const std::map<std::string, TensorEntry>& tensors) {
  json value = json::object();
  for (const auto& [name, entry] : tensors) value[name] = to_json(entry);
  return value;
}

std::map<std::string, TensorEntry> tensors_from_json(const json& value) {
  std::map<std::string, TensorEntry> tensors;
  for (const auto& [name, entry] : value.items()) tensors.emplace(name, tensor_from_json(entry, "tensors." + name));
  return tensors;
}

bool has_ranges(const Manifest& manifest) {
  for (const auto& [name, entry] : manifest.tensors) {
    for (const Piece& piece : entry.pieces) {
      if (piece.range) return true;
    }
  }
  return false;
}

std::string dump(const json& value, int indent) {
  return value.dump(indent, ' ', false, json::error_handler_t::replace);
}

// The text without its last field, as JSON text again. Throws IoError if the checksum does not fit.
std::string checked_body(std::string_view text) {
  if (text.size() < kTailBytes) throw IoError(fmt::format("it has only {} bytes", text.size()));
  const std::string_view body = text.substr(0, text.size() - kTailBytes);
  const std::string_view tail = text.substr(body.size());
  const std::string expected = fmt::format("{}{}{}", kHashBegin, hex64(hash64(body)), kHashEnd);
  if (tail != expected) throw IoError("its checksum does not fit its content");
  return std::string(body) + "\n}";
}

bool is_newer(const json& value) {
  return text_member(value, "format", "") == kFormat && count_member(value, "version", "") > kVersionWithRanges;
}

Manifest manifest_from_json(const json& value) {
  const std::string format = text_member(value, "format", "");
  const std::int64_t version = count_member(value, "version", "");
  if (format != kFormat || version < kVersion) {
    throw IoError(fmt::format("expected format {} version {} or {}, got {} version {}", kFormat, kVersion,
                              kVersionWithRanges, shown(format), version));
  }
  Manifest manifest;
  manifest.iteration = count_member(value, "iteration", "");
  manifest.metadata = member(value, "metadata", "");
  lineage_of_metadata(manifest.metadata);
  for (const auto& [name, file] : object_member(value, "files", "").items())
    manifest.files.emplace(name, shard_from_json(file, "files." + name));
  manifest.tensors = tensors_from_json(object_member(value, "tensors", ""));
  if (const auto problem = manifest_problem(manifest)) throw IoError(*problem);
  return manifest;
}

}  // namespace

std::string manifest_to_text(const Manifest& manifest) {
  json files = json::object();
  for (const auto& [name, file] : manifest.files) files[name] = to_json(file);
  const json value = {{"format", kFormat},
                      {"version", has_ranges(manifest) ? kVersionWithRanges : kVersion},
                      {"iteration", manifest.iteration},
                      {"metadata", manifest.metadata},
                      {"files", std::move(files)},
                      {"tensors", tensors_to_json(manifest.tensors)}};
  std::string text = dump(value, 1);
  text.resize(text.size() - 2);  // "\n}", which kHashEnd brings back
  return text + fmt::format("{}{}{}", kHashBegin, hex64(hash64(text)), kHashEnd);
}

Manifest manifest_from_text(std::string_view text, const std::filesystem::path& path) {
  json value;
  try {
    value = parse_strict(checked_body(text));
    if (!is_newer(value)) return manifest_from_json(value);
  } catch (const IoError& e) {
    throw CheckpointDamage(fmt::format("{} is not an intact manifest: {}", path.string(), e.what()));
  }
  throw IoError(
      fmt::format("{}: version: {} {} is newer than the versions {} to {} that this program reads. The checkpoint is "
                  "not damaged: use the program that has written it, or one as new, or another folder",
                  path.string(), kFormat, value.at("version").get<std::int64_t>(), kVersion, kVersionWithRanges));
}

std::string part_to_text(const ManifestPart& part) {
  return dump({{"file", part.file}, {"shard", to_json(part.shard)}, {"tensors", tensors_to_json(part.tensors)}}, -1);
}

ManifestPart part_from_text(std::string_view text) {
  try {
    const json value = parse_strict(text);
    return {text_member(value, "file", ""), shard_from_json(member(value, "shard", ""), "shard"),
            tensors_from_json(object_member(value, "tensors", ""))};
  } catch (const IoError& e) {
    throw InternalError(fmt::format("a rank's part of the manifest was damaged on its way: {}", e.what()));
  }
}

}  // namespace ringtron

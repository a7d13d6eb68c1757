#include "ringtron/checkpoint/checkpoint_reader.h"

#include <fmt/format.h>

#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"
#include "ringtron/base/text.h"
#include "ringtron/checkpoint/checkpoint_finder.h"
#include "ringtron/checkpoint/reshard_plan.h"

namespace ringtron {
namespace {

[[noreturn]] void damaged(const std::filesystem::path& path, const std::string& what) {
  throw IoError(fmt::format("{} is damaged: {}. Load another checkpoint (--ckpt-step)", path.string(), what));
}

}  // namespace

CheckpointReader::CheckpointReader(std::filesystem::path folder)
    : folder_(std::move(folder)), manifest_(read_complete_manifest(folder_)) {
  for (const auto& [name, file] : manifest_.files) pieces_by_file_[name];
  for (const auto& [name, entry] : manifest_.tensors) {
    for (const Piece& piece : entry.pieces) pieces_by_file_[piece.file].emplace_back(&entry, &piece);
  }
}

bool CheckpointReader::has(std::string_view name) const { return manifest_.tensors.contains(std::string(name)); }

const TensorEntry& CheckpointReader::tensor(std::string_view name) const {
  const auto at = manifest_.tensors.find(std::string(name));
  if (at == manifest_.tensors.end()) throw ConfigError(unknown_tensor_message(name));
  return at->second;
}

std::string CheckpointReader::unknown_tensor_message(std::string_view name) const {
  std::vector<std::string> known;
  for (const auto& [tensor_name, entry] : manifest_.tensors) known.push_back(tensor_name);
  const auto near = nearest_names(name, known);
  return fmt::format("checkpoint {} has no tensor {}{}{}. Is it of another model?", folder_.string(), name,
                     near.empty() ? "" : "; nearest: ", join(near, ", "));
}

void CheckpointReader::read_slice(std::string_view name, const Slab& slab, std::span<std::byte> out) {
  const TensorEntry& entry = tensor(name);
  const auto problem = slab_problem(entry.shape, slab);
  RT_CHECK(!problem, "reading tensor {}: {}", name, problem.value_or(""));
  const std::size_t element_size = size_of(entry.dtype);
  RT_CHECK_EQ(static_cast<std::size_t>(slab_elements(entry.shape, slab)) * element_size, out.size(),
              "bytes to read of tensor " + std::string(name));
  std::vector<Slab> pieces;
  for (const Piece& piece : entry.pieces) pieces.push_back({entry.dim, piece.offset, piece.length});
  for (const StridedCopy& copy : plan_reshard(entry.shape, pieces, slab)) {
    const Piece& piece = entry.pieces[copy.piece];
    if (piece.range && !may_read(copy, *piece.range)) continue;
    run_copy(copy, element_size, verified_piece(entry, piece), out, piece.range);
  }
}

void CheckpointReader::release(std::string_view name) {
  for (const Piece& piece : tensor(name).pieces) {
    const auto known = shards_.find(piece.file);
    if (known == shards_.end()) continue;
    const Shard& from = known->second;
    const auto at = from.layout.entries.find(piece.tensor);
    if (at == from.layout.entries.end()) continue;
    const SafetensorsEntry& stored = at->second;
    from.file.release(from.file.bytes().subspan(from.layout.data_begin + stored.begin, stored.end - stored.begin));
  }
}

void CheckpointReader::verify(std::size_t first, std::size_t step) {
  RT_CHECK(step > 0, "verify() with step 0");
  std::size_t index = 0;
  for (const auto& [file_name, pieces] : pieces_by_file_) {
    const bool mine = index >= first && (index - first) % step == 0;
    ++index;
    if (!mine) continue;
    shard(file_name);
    for (const auto& [entry, piece] : pieces) verified_piece(*entry, *piece);
  }
}

CheckpointReader::Shard& CheckpointReader::shard(const std::string& file_name) {
  const auto known = shards_.find(file_name);
  if (known != shards_.end()) return known->second;
  const auto path = folder_ / file_name;
  const ShardFile& expected = manifest_.files.at(file_name);
  Shard opened{MappedFile(path), {}, {}};
  const auto bytes = opened.file.bytes();
  if (bytes.size() != expected.bytes) {
    damaged(path, fmt::format("expected {} bytes, got {}", expected.bytes, bytes.size()));
  }
  const std::uint64_t got = hash64(bytes.first(safetensors_data_begin(bytes, path)));
  if (got != expected.header_hash) {
    damaged(path,
            fmt::format("its header should hash to {}, it hashes to {}", hex64(expected.header_hash), hex64(got)));
  }
  opened.layout = parse_safetensors(bytes, path);
  const std::size_t listed = pieces_by_file_.at(file_name).size();
  if (opened.layout.entries.size() != listed) {
    damaged(path, fmt::format("the manifest lists {} tensors, the file has {}", listed, opened.layout.entries.size()));
  }
  return shards_.emplace(file_name, std::move(opened)).first->second;
}

std::span<const std::byte> CheckpointReader::verified_piece(const TensorEntry& entry, const Piece& piece) {
  Shard& from = shard(piece.file);
  const auto at = from.layout.entries.find(piece.tensor);
  const Shape shape = stored_shape(entry.shape, {entry.dim, piece.offset, piece.length}, piece.range);
  if (at == from.layout.entries.end() || at->second.dtype != entry.dtype || at->second.shape != shape) {
    damaged(folder_ / piece.file, fmt::format("it has no tensor {} of type {} and shape {}", piece.tensor,
                                              name_of(entry.dtype), to_string(shape)));
  }
  const SafetensorsEntry& stored = at->second;
  const auto bytes = from.file.bytes().subspan(from.layout.data_begin + stored.begin, stored.end - stored.begin);
  if (!from.verified.contains(piece.tensor)) {
    const std::uint64_t got = hash64(bytes);
    if (got != piece.hash) {
      damaged(folder_ / piece.file,
              fmt::format("tensor {} should hash to {}, it hashes to {}", piece.tensor, hex64(piece.hash), hex64(got)));
    }
    from.verified.insert(piece.tensor);
  }
  return bytes;
}

}  // namespace ringtron

#include "ringtron/checkpoint/manifest.h"

#include <fmt/format.h>

#include <algorithm>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

std::optional<std::string> tensor_problem(const std::string& name, const TensorEntry& entry,
                                          const Manifest& manifest) {
  // Pieces are in order of offset, so each must begin where the one before has ended.
  std::int64_t covered = 0;
  for (const Piece& piece : entry.pieces) {
    if (!manifest.files.contains(piece.file)) {
      return fmt::format("tensor {} needs file {}, which is not listed", name, piece.file);
    }
    const Slab slab{entry.dim, piece.offset, piece.length};
    if (const auto problem = slab_problem(entry.shape, slab))
      return fmt::format("tensor {}: {}", name, *problem);
    if (piece.offset != covered) {
      return fmt::format("tensor {}: rows {} and {} of dim {} should meet, they {}", name, covered,
                         piece.offset, entry.dim, piece.offset < covered ? "overlap" : "leave a gap");
    }
    covered += piece.length;
  }
  if (entry.pieces.empty()) return fmt::format("tensor {} has no pieces", name);
  const std::int64_t rows = rows_along(entry.shape, entry.dim);
  if (covered != rows) {
    return fmt::format("tensor {}: expected {} rows along dim {}, got {}", name, rows, entry.dim, covered);
  }
  return std::nullopt;
}

// A piece must not lead out of the checkpoint folder.
bool plain_file_name(const std::string& name) {
  return !name.empty() && name.front() != '.' && name.find('/') == std::string::npos;
}

}  // namespace

void merge_part(Manifest& manifest, const ManifestPart& part) {
  RT_CHECK(manifest.files.emplace(part.file, part.shard).second, "two ranks have written {}", part.file);
  for (const auto& [name, entry] : part.tensors) {
    auto [at, is_new] = manifest.tensors.emplace(name, entry);
    if (is_new) continue;
    TensorEntry& known = at->second;
    RT_CHECK(known.dtype == entry.dtype && known.shape == entry.shape && known.dim == entry.dim,
             "ranks disagree about tensor {}: {} {} cut along dim {}, and in {} {} {} along dim {}", name,
             name_of(known.dtype), to_string(known.shape), known.dim, part.file, name_of(entry.dtype),
             to_string(entry.shape), entry.dim);
    known.pieces.insert(known.pieces.end(), entry.pieces.begin(), entry.pieces.end());
    std::sort(known.pieces.begin(), known.pieces.end(), [](const Piece& a, const Piece& b) {
      return a.offset != b.offset ? a.offset < b.offset : a.length < b.length;
    });
  }
}

std::optional<std::string> manifest_problem(const Manifest& manifest) {
  for (const auto& [name, file] : manifest.files) {
    if (!plain_file_name(name)) return fmt::format("\"{}\" is not the name of a file in the folder", name);
  }
  for (const auto& [name, entry] : manifest.tensors) {
    if (auto problem = tensor_problem(name, entry, manifest)) return problem;
  }
  return std::nullopt;
}

}  // namespace ringtron

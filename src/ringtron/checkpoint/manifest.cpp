#include "ringtron/checkpoint/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

// The name in the file says what the piece is: the tensor's own for all of it, with the rows behind it for a part. So
// pieces of two tensors cannot be exchanged.
bool is_named_after(const std::string& name, const TensorEntry& entry, const Piece& piece) {
  const bool whole = !piece.range && piece.offset == 0 && piece.length == rows_along(entry.shape, entry.dim);
  return (whole && piece.tensor == name) ||
         piece.tensor == stored_name(name, {entry.dim, piece.offset, piece.length}, piece.range);
}

// The ranges of one slab: each must begin where the one before has ended, until all elements are there. `next` is the
// first of them, and then the piece behind the last.
std::optional<std::string> ranges_problem(const TensorEntry& entry, std::size_t& next) {
  const Piece& first = entry.pieces[next];
  const Slab slab{entry.dim, first.offset, first.length};
  std::int64_t covered = 0;
  for (; next < entry.pieces.size(); ++next) {
    const Piece& piece = entry.pieces[next];
    if (!piece.range || piece.offset != slab.offset || piece.length != slab.length) break;
    if (auto problem = range_problem(entry.shape, slab, *piece.range)) return problem;
    if (piece.range->begin != covered) {
      return fmt::format("elements {} and {} of {} should meet, they {}", covered, piece.range->begin, to_string(slab),
                         piece.range->begin < covered ? "overlap" : "leave a gap");
    }
    covered = piece.range->end;
  }
  const std::int64_t elements = slab_elements(entry.shape, slab);
  if (covered == elements) return std::nullopt;
  return fmt::format("expected {} elements of {}, got {}", elements, to_string(slab), covered);
}

std::optional<std::string> tensor_problem(const std::string& name, const TensorEntry& entry, const Manifest& manifest) {
  for (const Piece& piece : entry.pieces) {
    if (!manifest.files.contains(piece.file))
      return fmt::format("tensor {} needs file {}, which is not listed", name, piece.file);
  }
  // Pieces are in order of offset, so each must begin where the one before has ended.
  std::int64_t covered = 0;
  for (std::size_t next = 0; next < entry.pieces.size();) {
    const Piece& piece = entry.pieces[next];
    const Slab slab{entry.dim, piece.offset, piece.length};
    if (const auto problem = slab_problem(entry.shape, slab)) return fmt::format("tensor {}: {}", name, *problem);
    if (piece.offset != covered) {
      return fmt::format("tensor {}: rows {} and {} of dim {} should meet, they {}", name, covered, piece.offset,
                         entry.dim, piece.offset < covered ? "overlap" : "leave a gap");
    }
    covered += piece.length;
    if (!piece.range) {
      ++next;
    } else if (const auto problem = ranges_problem(entry, next)) {
      return fmt::format("tensor {}: {}", name, *problem);
    }
  }
  if (entry.pieces.empty()) return fmt::format("tensor {} has no pieces", name);
  const std::int64_t rows = rows_along(entry.shape, entry.dim);
  if (covered != rows) {
    return fmt::format("tensor {}: expected {} rows along dim {}, got {}", name, rows, entry.dim, covered);
  }
  return std::nullopt;
}

// Bytes of a piece; nothing if they do not fit into 63 bits. Requires a slab inside the tensor.
std::optional<std::int64_t> bytes_of(const TensorEntry& entry, const Piece& piece) {
  const auto elements = element_count(stored_shape(entry.shape, {entry.dim, piece.offset, piece.length}, piece.range));
  std::int64_t bytes = 0;
  if (!elements || __builtin_mul_overflow(*elements, static_cast<std::int64_t>(size_of(entry.dtype)), &bytes))
    return std::nullopt;
  return bytes;
}

// Each stored tensor belongs to one piece, after which it is named, and the pieces of a file fit into it.
std::optional<std::string> storage_problem(const Manifest& manifest) {
  std::set<std::pair<std::string_view, std::string_view>> stored;
  std::map<std::string, std::uint64_t, std::less<>> left;  // bytes of each file that no piece has taken yet
  for (const auto& [name, file] : manifest.files) left[name] = file.bytes;
  for (const auto& [name, entry] : manifest.tensors) {
    for (const Piece& piece : entry.pieces) {
      if (!is_named_after(name, entry, piece)) {
        return fmt::format("tensor {}: its rows {}+{} of dim {} cannot be {} of file {}", name, piece.offset,
                           piece.length, entry.dim, piece.tensor, piece.file);
      }
      if (!stored.emplace(piece.file, piece.tensor).second) {
        return fmt::format(
            "tensor {}: {} of file {} belongs to another piece already; two tensors cannot lie on the same bytes", name,
            piece.tensor, piece.file);
      }
      const auto bytes = bytes_of(entry, piece);
      std::uint64_t& rest = left.at(piece.file);
      if (!bytes || static_cast<std::uint64_t>(*bytes) > rest) {
        return fmt::format("tensor {}: {} {} does not fit into file {} of {} bytes", name, name_of(entry.dtype),
                           to_string(entry.shape), piece.file, manifest.files.at(piece.file).bytes);
      }
      rest -= static_cast<std::uint64_t>(*bytes);
    }
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
      if (a.offset != b.offset) return a.offset < b.offset;
      if (a.length != b.length) return a.length < b.length;
      return a.range.value_or(SlabRange{}).begin < b.range.value_or(SlabRange{}).begin;
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
  return storage_problem(manifest);
}

}  // namespace ringtron

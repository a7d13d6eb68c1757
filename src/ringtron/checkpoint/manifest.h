// manifest.json: which logical tensors a checkpoint holds, where each piece of them lies, and what it must
// hash to.
//
// docs/formats/checkpoint.md shows one. A folder without a valid manifest is not a checkpoint.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/checkpoint/dtype.h"
#include "ringtron/checkpoint/tensor_slice.h"

namespace ringtron {

inline constexpr const char* kManifestName = "manifest.json";

// A checkpoint that is there and is not whole, or not one: another may be taken in its place. A disk or a folder that
// cannot be read is a plain IoError: nobody knows what is there.
class CheckpointDamage : public IoError {
 public:
  using IoError::IoError;
};

// One stored slab of a logical tensor, or a range of its elements. Its dim is that of the tensor's entry.
struct Piece {
  std::string file;         // name inside the checkpoint folder
  std::string tensor;       // name inside that file
  std::int64_t offset = 0;  // rows, along the entry's dim
  std::int64_t length = 0;
  std::uint64_t hash = 0;               // hash64 of its bytes
  std::optional<SlabRange> range = {};  // of the slab's elements; absent: all of them
};

struct TensorEntry {
  DType dtype = DType::f32;
  Shape shape;                // of the whole logical tensor
  int dim = 0;                // along which it is cut
  std::vector<Piece> pieces;  // by offset, then by range
};

struct ShardFile {
  std::uint64_t bytes = 0;
  std::uint64_t header_hash = 0;  // hash64 of everything before the first tensor
};

struct Manifest {
  std::int64_t iteration = 0;
  nlohmann::json metadata = nlohmann::json::object();  // consumed samples, schedule, configuration: the caller's
  std::map<std::string, ShardFile> files;
  std::map<std::string, TensorEntry> tensors;
};

// What one rank has written: its shard file and the pieces in it. Travels between ranks as text.
struct ManifestPart {
  std::string file;
  ShardFile shard;
  std::map<std::string, TensorEntry> tensors;
};

// Adds a part. Throws InternalError if two parts disagree about a tensor or name the same file.
void merge_part(Manifest& manifest, const ManifestPart& part);

// Nothing, or the first fault: every element of every tensor must be in exactly one piece of a listed file, no stored
// tensor may belong to two pieces, and a file must be large enough for its pieces.
std::optional<std::string> manifest_problem(const Manifest& manifest);

// Text and back. The manifest's text is JSON that ends with the hash64 of all bytes before that last field.
// manifest_from_text throws CheckpointDamage that names `path` and the member for text that is not intact or not
// understood, a plain IoError for an intact one of a newer version (what it says nobody here knows, and nothing older
// may be taken for it), and checks manifest_problem and the lineage in the metadata. part_from_text throws
// InternalError. Text that is not UTF-8 in the metadata is replaced, numbers that are not finite become null.
std::string manifest_to_text(const Manifest& manifest);
Manifest manifest_from_text(std::string_view text, const std::filesystem::path& path);
std::string part_to_text(const ManifestPart& part);
ManifestPart part_from_text(std::string_view text);

}  // namespace ringtron

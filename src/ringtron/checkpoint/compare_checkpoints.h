// What differs between two checkpoints: `inspect compare FIRST SECOND`.
#pragma once

#include <filesystem>
#include <string>

namespace ringtron {

struct CheckpointDifference {
  bool is_none = false;  // of metadata and tensors; how they are cut and into which files does not count
  std::string text;
};

// `first`, `second`: a checkpoint (iter_...) or a save folder, of which the newest complete one counts. The text lists
// the fields of the metadata, configuration included, whose values differ; tensors that only one has; those of another
// shape; and those with other values: how many elements, the greatest difference and where. Tensors of another element
// type are listed, and compared by the numbers that they hold; of one type, by their bits. Two runs' lineage and the
// folders that they were told to use always differ, and are listed like the rest. Reads every byte once, a bounded part
// of a tensor at a time. Throws IoError if there is no complete checkpoint, or one that names a damaged file.
CheckpointDifference compare_checkpoints(const std::filesystem::path& first, const std::filesystem::path& second);

}  // namespace ringtron

// What a file or folder is that is not a folder of our checkpoints, by the names in it: another program's checkpoint,
// one of our checkpoints instead of the folder above, and so on. And what to give instead, in the words of who reads
// it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace ringtron {

// Who reads the folder, and so which words its user can act on: --load and --ckpt-step, or `inspect checkpoint`, which
// has neither.
enum class FolderUse { load, inspect };

// "is a checkpoint of Megatron-LM (torch_dist). Ringtron reads its own format only ...": what it is and what to give
// instead. `path` exists. Nothing if it looks like no kind that is known. Throws IoError if it cannot be read.
std::optional<std::string> foreign_kind(const std::filesystem::path& path, FolderUse use);

// The names in a folder, sorted. Throws IoError if it cannot be read.
std::vector<std::string> folder_names(const std::filesystem::path& folder);

}  // namespace ringtron

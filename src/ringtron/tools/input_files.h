// What --input names: which files, in which order. The same for every tool that reads text.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace ringtron {

// A file, pipe or, as "-", standard input.
struct InputFile {
  std::string path;
  bool from_folder = false;  // found there, not named: what is no text is passed over
};

// Each of `inputs` is a file, a pipe, "-", a shell pattern, or a folder, which is searched through all levels; several
// may stand in one with commas between. They keep their order, files of one pattern or folder are sorted. Each file
// comes once. In folders, names that begin with '.' are left out, and with a line to `notice` (the first few, then a
// count): pipes, devices, links to folders, links to nothing, and files of a format that is not read. Throws
// ConfigError for an input that names nothing, may not be read, is empty as a folder, is a device, or is of a format
// that is not read here (byte_source.h).
std::vector<InputFile> find_input_files(std::span<const std::string> inputs,
                                        const std::function<void(const std::string&)>& notice);

// Bytes of all files on disk; nothing where one of them is a pipe or standard input, which nobody knows the end of.
std::optional<std::int64_t> total_bytes(std::span<const InputFile> files);

}  // namespace ringtron

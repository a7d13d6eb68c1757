#include "ringtron/data/corpus_files.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "ringtron/base/error.h"
#include "ringtron/base/guarded_file.h"

namespace ringtron {

std::string corpus_file(const std::string& prefix, const char* extension) {
  std::string path = prefix + extension;
  if (const std::string what = not_a_file(path); !what.empty()) {
    throw ConfigError(
        fmt::format("data: expected a file at {}, it is {}. Give the prefix of files that preprocess_data "
                    "wrote",
                    path, what));
  }
  std::error_code error;
  if (std::filesystem::exists(path, error)) return path;
  if (error) throw ConfigError(fmt::format("data: cannot look at {}: {}", path, error.message()));
  const bool has_extension = prefix.ends_with(".bin") || prefix.ends_with(".idx");
  const bool is_folder = std::filesystem::is_directory(prefix, error);
  throw ConfigError(fmt::format("data: expected the file {}, but it does not exist. {}", path,
                                has_extension ? "Give the path without its .bin or .idx"
                                : is_folder
                                    ? "The path is that of a folder: give that of a corpus in it, without .bin or .idx"
                                    : "Give the prefix that preprocess_data printed, such as DIR/NAME_text_document"));
}

}  // namespace ringtron

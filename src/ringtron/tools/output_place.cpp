#include "ringtron/tools/output_place.h"

#include <fmt/format.h>

#include <filesystem>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"

namespace ringtron {

namespace fs = std::filesystem;

void make_parent_folder(const char* flag, const std::string& path) {
  const fs::path folder = fs::path(path).parent_path();
  if (folder.empty()) return;
  std::error_code error;
  fs::create_directories(folder, error);
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) {
    throw ConfigError(fmt::format("{} {}: cannot make the folder {}: {}. Give another place", flag, excerpt(path, 200),
                                  excerpt(folder.string(), 200), error ? error.message() : "it is not a folder"));
  }
}

void refuse_input(const std::string& output, const std::vector<InputFile>& inputs) {
  std::error_code error;
  if (!fs::exists(output, error)) return;
  for (const InputFile& input : inputs) {
    if (input.path != "-" && fs::equivalent(output, input.path, error)) {
      throw ConfigError(fmt::format("{} would be overwritten, and --input names it too ({}). Give another output",
                                    output, input.path));
    }
  }
}

}  // namespace ringtron

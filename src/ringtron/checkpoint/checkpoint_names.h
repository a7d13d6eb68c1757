// Names under a save folder. Everything that begins with a dot is unfinished business of a save, never a
// checkpoint that was published.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace ringtron {

inline constexpr const char* kTrackerName = "latest_checkpointed_iteration.txt";
inline constexpr const char* kPartialSuffix = ".partial";  // being written
inline constexpr const char* kReplacedSuffix =
    ".replaced";  // the old one, while a new one of that iteration appears

inline std::string iteration_name(std::int64_t iteration) {
  return fmt::format("iter_{:07d}", iteration);
}

inline std::filesystem::path iteration_folder(const std::filesystem::path& save_folder,
                                              std::int64_t iteration) {
  return save_folder / iteration_name(iteration);
}

inline std::filesystem::path partial_folder(const std::filesystem::path& save_folder,
                                            std::int64_t iteration) {
  return save_folder / ("." + iteration_name(iteration) + kPartialSuffix);
}

inline std::filesystem::path replaced_folder(const std::filesystem::path& save_folder,
                                             std::int64_t iteration) {
  return save_folder / ("." + iteration_name(iteration) + kReplacedSuffix);
}

}  // namespace ringtron

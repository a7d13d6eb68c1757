// Names under a save folder. Everything that begins with a dot is unfinished business of a save, never a
// checkpoint that was published.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace ringtron {

inline constexpr const char* kTrackerName = "latest_checkpointed_iteration.txt";
inline constexpr const char* kPartialSuffix = ".partial";    // being written
inline constexpr const char* kReplacedSuffix = ".replaced";  // the old one, while a new one of that iteration appears

inline std::string iteration_name(std::int64_t iteration) { return fmt::format("iter_{:07d}", iteration); }

inline std::filesystem::path iteration_folder(const std::filesystem::path& save_folder, std::int64_t iteration) {
  return save_folder / iteration_name(iteration);
}

// Where a save writes; with `number` above 0 another name, for when a leftover that cannot be removed has the first.
inline std::filesystem::path partial_folder(const std::filesystem::path& save_folder, std::int64_t iteration,
                                            int number = 0) {
  const std::string name = "." + iteration_name(iteration);
  return save_folder / ((number == 0 ? name : fmt::format("{}.{}", name, number)) + kPartialSuffix);
}

inline std::filesystem::path replaced_folder(const std::filesystem::path& save_folder, std::int64_t iteration) {
  return save_folder / ("." + iteration_name(iteration) + kReplacedSuffix);
}

// Where a save puts what had its name and is no checkpoint of ours; kept. `number` from 0 on, until one is free.
inline std::filesystem::path set_aside_path(const std::filesystem::path& save_folder, std::int64_t iteration,
                                            int number) {
  const std::string name = iteration_name(iteration) + ".set_aside";
  return save_folder / (number == 0 ? name : fmt::format("{}_{}", name, number));
}

// Where a checkpoint is published if what has its name can be neither moved nor removed. `number` from 0 on, until one
// is free.
inline constexpr const char* kBesideSuffix = ".beside";
inline std::filesystem::path beside_path(const std::filesystem::path& save_folder, std::int64_t iteration, int number) {
  const std::string name = iteration_name(iteration) + kBesideSuffix;
  return save_folder / (number == 0 ? name : fmt::format("{}_{}", name, number));
}

}  // namespace ringtron

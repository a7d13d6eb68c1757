#include "ringtron/checkpoint/checkpoint_finder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <string_view>
#include <system_error>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/checkpoint/checkpoint_names.h"

namespace ringtron {
namespace {

// "iter_0002000" -> 2000; also the name that a crash between two renames can leave behind
// (checkpoint_writer.cpp).
std::optional<std::int64_t> iteration_of(std::string_view name) {
  const std::string_view replaced(kReplacedSuffix);
  if (name.starts_with(".") && name.ends_with(replaced)) {
    name.remove_prefix(1);
    name.remove_suffix(replaced.size());
  }
  constexpr std::string_view kPrefix = "iter_";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  std::int64_t iteration = 0;
  const auto result = std::from_chars(name.data(), name.data() + name.size(), iteration);
  if (result.ec != std::errc() || result.ptr != name.data() + name.size() || iteration < 0)
    return std::nullopt;
  return iteration;
}

// The published folder, or the one it was about to replace if only that one is complete.
CheckpointCandidate examine(const std::filesystem::path& load_folder, std::int64_t iteration) {
  CheckpointCandidate published{iteration, iteration_folder(load_folder, iteration), ""};
  const auto problem = checkpoint_problem(published.folder);
  if (!problem) return published;
  const auto replaced = replaced_folder(load_folder, iteration);
  if (!checkpoint_problem(replaced)) return {iteration, replaced, ""};
  published.problem = *problem;
  return published;
}

}  // namespace

Manifest read_complete_manifest(const std::filesystem::path& checkpoint_folder) {
  const auto path = checkpoint_folder / kManifestName;
  Manifest manifest = manifest_from_text(read_file(path), path);
  for (const auto& [name, file] : manifest.files) {
    const auto shard = checkpoint_folder / name;
    std::error_code error;
    const auto bytes = std::filesystem::file_size(shard, error);
    if (error) throw IoError(fmt::format("{} is missing or unreadable: {}", shard.string(), error.message()));
    if (bytes != file.bytes) {
      throw IoError(fmt::format("{} is truncated or foreign: expected {} bytes, got {}", shard.string(),
                                file.bytes, bytes));
    }
  }
  return manifest;
}

std::optional<std::string> checkpoint_problem(const std::filesystem::path& checkpoint_folder) {
  try {
    read_complete_manifest(checkpoint_folder);
    return std::nullopt;
  } catch (const IoError& e) {
    return e.what();
  }
}

std::vector<std::int64_t> list_iterations(const std::filesystem::path& load_folder) {
  std::set<std::int64_t> found;
  std::error_code error;
  for (std::filesystem::directory_iterator at(load_folder, error), end; !error && at != end;
       at.increment(error)) {
    if (const auto iteration = iteration_of(at->path().filename().string())) found.insert(*iteration);
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    throw IoError(fmt::format("cannot list folder {}: {}", load_folder.string(), error.message()));
  }
  return {found.begin(), found.end()};
}

CheckpointSearch find_newest_checkpoint(const std::filesystem::path& load_folder, std::int64_t before) {
  CheckpointSearch search;
  const auto iterations = list_iterations(load_folder);
  for (auto at = iterations.rbegin(); at != iterations.rend() && !search.newest; ++at) {
    if (*at >= before) continue;
    CheckpointCandidate candidate = examine(load_folder, *at);
    if (candidate.problem.empty()) {
      search.newest = std::move(candidate);
    } else {
      search.damaged.push_back(std::move(candidate));
    }
  }
  return search;
}

CheckpointCandidate find_checkpoint_of(const std::filesystem::path& load_folder, std::int64_t iteration) {
  const auto iterations = list_iterations(load_folder);
  if (std::find(iterations.begin(), iterations.end(), iteration) == iterations.end()) {
    throw ConfigError(fmt::format("--ckpt-step {}: {} holds no such checkpoint, it holds iterations [{}]",
                                  iteration, load_folder.string(), fmt::join(iterations, ", ")));
  }
  CheckpointCandidate candidate = examine(load_folder, iteration);
  if (!candidate.problem.empty()) {
    throw IoError(fmt::format("{}; {}", candidate.problem, fallback_advice(load_folder, iteration)));
  }
  return candidate;
}

std::string fallback_advice(const std::filesystem::path& load_folder, std::int64_t damaged_iteration) {
  const auto previous = find_newest_checkpoint(load_folder, damaged_iteration).newest;
  if (!previous) return fmt::format("{} holds no older complete checkpoint", load_folder.string());
  return fmt::format("the previous complete checkpoint is {}; load it with --ckpt-step {}",
                     previous->folder.string(), previous->iteration);
}

}  // namespace ringtron

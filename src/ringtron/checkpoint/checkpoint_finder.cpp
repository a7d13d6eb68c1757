#include "ringtron/checkpoint/checkpoint_finder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <exception>
#include <map>
#include <ranges>
#include <string_view>
#include <system_error>
#include <utility>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/base/guarded_file.h"
#include "ringtron/checkpoint/checkpoint_names.h"

namespace ringtron {
namespace {

namespace fs = std::filesystem;

// A million pieces have 200 MB. What is larger is not read into memory.
constexpr std::uintmax_t kLargestManifest = std::uintmax_t{1} << 30;

// "iter_0002000.beside_3" -> "iter_0002000"; anything else as it is.
std::string_view without_beside(std::string_view name) {
  const std::size_t at = name.find(kBesideSuffix);
  if (at == std::string_view::npos) return name;
  const std::string_view number = name.substr(at + std::string_view(kBesideSuffix).size());
  const bool is_number =
      number.size() > 1 && number[0] == '_' && number.find_first_not_of("0123456789", 1) == std::string_view::npos;
  return number.empty() || is_number ? name.substr(0, at) : name;
}

// "iter_0002000" -> 2000; also the name that a crash between two renames can leave behind, and those of saves whose own
// name was taken by something that could not be moved (checkpoint_writer.cpp). Other spellings of a number are not
// ours.
std::optional<std::int64_t> iteration_of(std::string_view name) {
  const std::string_view replaced(kReplacedSuffix);
  if (name.starts_with(".") && name.ends_with(replaced)) {
    name.remove_prefix(1);
    name.remove_suffix(replaced.size());
  } else {
    name = without_beside(name);
  }
  constexpr std::string_view kPrefix = "iter_";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const std::string_view digits = name.substr(kPrefix.size());
  std::int64_t iteration = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), iteration);
  if (result.ec != std::errc() || result.ptr != digits.data() + digits.size() || iteration < 0) return std::nullopt;
  if (iteration_name(iteration) != name) return std::nullopt;
  return iteration;
}

// Throws CheckpointDamage if there is no such file, IoError if that cannot be known.
void require_file(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) throw CheckpointDamage(fmt::format("{} is missing", path.string()));
  if (status.type() == fs::file_type::none) {
    throw IoError(fmt::format("cannot read {}: {}", path.string(), error.message()));
  }
  if (status.type() != fs::file_type::regular)
    throw CheckpointDamage(fmt::format("{} is {}, not a file", path.string(), not_a_file(path)));
}

Manifest read_manifest(const fs::path& checkpoint_folder) {
  const auto path = checkpoint_folder / kManifestName;
  require_file(path);
  std::error_code error;
  const auto bytes = fs::file_size(path, error);
  if (!error && bytes > kLargestManifest) {
    throw CheckpointDamage(fmt::format("{} is no manifest: it has {} bytes", path.string(), bytes));
  }
  return manifest_from_text(read_file(path), path);
}

// Throws CheckpointDamage unless the manifest is that of this folder and its files are there with their sizes.
void require_complete(const Manifest& manifest, const fs::path& checkpoint_folder) {
  const auto named = iteration_of(checkpoint_folder.filename().string());
  if (named && *named != manifest.iteration) {
    throw CheckpointDamage(fmt::format("{} is of iteration {}, its folder is named after iteration {}",
                                       (checkpoint_folder / kManifestName).string(), manifest.iteration, *named));
  }
  for (const auto& [name, file] : manifest.files) {
    const auto shard = checkpoint_folder / name;
    require_file(shard);
    std::error_code error;
    const auto bytes = fs::file_size(shard, error);
    if (error) throw IoError(fmt::format("cannot read {}: {}", shard.string(), error.message()));
    if (bytes != file.bytes) {
      throw CheckpointDamage(
          fmt::format("{} is truncated or foreign: expected {} bytes, got {}", shard.string(), file.bytes, bytes));
    }
  }
}

CheckpointCandidate examine_folder(const fs::path& folder, std::int64_t iteration) {
  CheckpointCandidate out{iteration, folder, "", std::nullopt};
  try {
    const Manifest manifest = read_manifest(folder);
    out.lineage = lineage_of_metadata(manifest.metadata);
    require_complete(manifest, folder);
  } catch (const CheckpointDamage& damage) {
    out.problem = damage.what();
  }
  return out;
}

bool saved_before(const CheckpointCandidate& a, const CheckpointCandidate& b) {
  return std::pair(a.lineage->save, a.iteration) < std::pair(b.lineage->save, b.iteration);
}

// By iteration: the folders that may hold its checkpoint, first the one of the plain name (there or not), then the one
// that it was about to replace, then those beside.
std::map<std::int64_t, std::vector<fs::path>> folders_by_iteration(const fs::path& load_folder) {
  std::map<std::int64_t, std::vector<fs::path>> found;
  std::error_code error;
  for (fs::directory_iterator at(load_folder, error), end; !error && at != end; at.increment(error)) {
    const auto iteration = iteration_of(at->path().filename().string());
    if (!iteration) continue;
    std::vector<fs::path>& folders = found[*iteration];
    if (folders.empty())
      folders = {iteration_folder(load_folder, *iteration), replaced_folder(load_folder, *iteration)};
    if (std::find(folders.begin(), folders.end(), at->path()) == folders.end()) folders.push_back(at->path());
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    throw IoError(fmt::format("cannot list folder {}: {}", load_folder.string(), error.message()));
  }
  return found;
}

// Of the folders of an iteration the complete one that was saved last; if none is complete, that of the plain name, or
// one beside it that is a checkpoint at least.
CheckpointCandidate examine(const std::vector<fs::path>& folders, std::int64_t iteration) {
  std::optional<CheckpointCandidate> best;
  std::exception_ptr unreadable;
  for (std::size_t i = 0; i < folders.size(); ++i) {
    try {
      CheckpointCandidate one = examine_folder(folders[i], iteration);
      const bool complete = one.problem.empty(), best_is_complete = best && best->problem.empty();
      const auto save_of = [](const CheckpointCandidate& candidate) {
        return candidate.lineage ? candidate.lineage->save : 0;
      };
      const bool better = complete ? !best_is_complete || save_of(one) > save_of(*best)
                                   : !best || (i > 1 && !best_is_complete && !best->lineage && one.lineage);
      if (better) best = std::move(one);
    } catch (const IoError&) {
      if (!unreadable) unreadable = std::current_exception();
    }
  }
  // What stands beside is newer than what could not be moved for it, so that need not be readable.
  const bool is_beside = best && best->problem.empty() && best->folder != folders[0] && best->folder != folders[1];
  if (unreadable && !is_beside) std::rethrow_exception(unreadable);
  return *best;
}

bool on_line_of(const CheckpointCandidate& line, const CheckpointCandidate& other) {
  return other.lineage && line.lineage->includes(line.iteration, other.lineage->run, other.iteration);
}

// Of a damaged checkpoint: the largest complete iteration below it, on its line if that is known.
const CheckpointCandidate* previous_of(const std::vector<CheckpointCandidate>& all,
                                       const CheckpointCandidate& damaged) {
  const CheckpointCandidate* best = nullptr;
  for (const CheckpointCandidate& candidate : all) {
    if (!candidate.problem.empty() || candidate.iteration >= damaged.iteration) continue;
    if (damaged.lineage && !on_line_of(damaged, candidate)) continue;
    if (best == nullptr || best->iteration < candidate.iteration) best = &candidate;
  }
  return best;
}

}  // namespace

Manifest read_complete_manifest(const fs::path& checkpoint_folder) {
  Manifest manifest = read_manifest(checkpoint_folder);
  require_complete(manifest, checkpoint_folder);
  return manifest;
}

std::optional<std::string> checkpoint_problem(const fs::path& checkpoint_folder) {
  try {
    read_complete_manifest(checkpoint_folder);
    return std::nullopt;
  } catch (const CheckpointDamage& e) {
    return e.what();
  }
}

std::vector<std::int64_t> list_iterations(const fs::path& load_folder) {
  std::vector<std::int64_t> out;
  for (const auto& [iteration, folders] : folders_by_iteration(load_folder)) out.push_back(iteration);
  return out;
}

std::vector<CheckpointCandidate> list_checkpoints(const fs::path& load_folder) {
  std::vector<CheckpointCandidate> out;
  for (const auto& [iteration, folders] : folders_by_iteration(load_folder)) out.push_back(examine(folders, iteration));
  return out;
}

CheckpointSearch find_newest_checkpoint(const fs::path& load_folder) {
  const std::vector<CheckpointCandidate> all = list_checkpoints(load_folder);
  CheckpointSearch search;
  const CheckpointCandidate* last = nullptr;  // saved last, of those whose place in the order is known
  for (const CheckpointCandidate& candidate : all) {
    if (candidate.lineage && (last == nullptr || saved_before(*last, candidate))) last = &candidate;
  }
  const CheckpointCandidate* newest = last;
  if (last != nullptr && !last->problem.empty()) newest = previous_of(all, *last);
  if (newest != nullptr) search.newest = *newest;
  for (auto at = all.rbegin(); at != all.rend(); ++at) {
    const bool on_line = last == nullptr || !at->lineage || on_line_of(*last, *at);
    const bool later = newest == nullptr || at->iteration > newest->iteration;
    if (!at->problem.empty() && on_line && later) search.damaged.push_back(*at);
    if (!at->lineage && !later) search.unplaced.push_back(*at);
  }
  for (const CheckpointCandidate& candidate : all) {
    if (last != nullptr && candidate.lineage && !on_line_of(*last, candidate)) search.others.push_back(candidate);
  }
  return search;
}

CheckpointCandidate find_checkpoint_of(const fs::path& load_folder, std::int64_t iteration) {
  const auto all = folders_by_iteration(load_folder);
  if (!all.contains(iteration)) {
    throw ConfigError(fmt::format("--ckpt-step {}: {} holds no such checkpoint, it holds iterations [{}]", iteration,
                                  load_folder.string(), fmt::join(std::views::keys(all), ", ")));
  }
  CheckpointCandidate candidate = examine(all.at(iteration), iteration);
  if (!candidate.problem.empty()) {
    throw IoError(fmt::format("{}; {}", candidate.problem, fallback_advice(load_folder, iteration)));
  }
  return candidate;
}

std::string fallback_advice(const fs::path& load_folder, std::int64_t damaged_iteration) {
  const std::vector<CheckpointCandidate> all = list_checkpoints(load_folder);
  CheckpointCandidate damaged{damaged_iteration, {}, "", std::nullopt};
  for (const CheckpointCandidate& candidate : all) {
    if (candidate.iteration == damaged_iteration) damaged = candidate;
  }
  const CheckpointCandidate* previous = previous_of(all, damaged);
  if (previous == nullptr)
    return fmt::format("{} holds no older complete checkpoint of this run", load_folder.string());
  return fmt::format("the previous complete checkpoint is {}; load it with --ckpt-step {}", previous->folder.string(),
                     previous->iteration);
}

std::int64_t next_save_number(const fs::path& save_folder) {
  std::int64_t largest = 0;
  for (const CheckpointCandidate& candidate : list_checkpoints(save_folder)) {
    if (candidate.lineage) largest = std::max(largest, candidate.lineage->save);
  }
  return largest + 1;
}

}  // namespace ringtron

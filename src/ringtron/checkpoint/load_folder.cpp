#include "ringtron/checkpoint/load_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <string>
#include <system_error>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/base/guarded_file.h"
#include "ringtron/base/text.h"
#include "ringtron/checkpoint/checkpoint_names.h"
#include "ringtron/checkpoint/foreign_folder.h"

namespace ringtron {
namespace {

namespace fs = std::filesystem;

// The folder as messages name it, and what may be given instead.
std::string named(const fs::path& folder, FolderUse use) {
  return (use == FolderUse::load ? "--load " : "") + folder.string();
}

std::string_view instead(FolderUse use) {
  return use == FolderUse::load
             ? "To start afresh, give --load and --save a folder that is absent or empty, or leave out --load"
             : "`inspect checkpoint` takes the folder of --save of a run, or one folder iter_... in it";
}

std::string how_to_take(const std::string& which, FolderUse use) {
  return use == FolderUse::load ? fmt::format("{} with --ckpt-step", which)
                                : fmt::format("{} by its folder, `inspect checkpoint DIR/iter_...`", which);
}

[[noreturn]] void refuse(const fs::path& folder, const std::string& what, FolderUse use) {
  throw IoError(fmt::format("{}: it {}. {}", named(folder, use), what, instead(use)));
}

fs::path plain(const fs::path& path) {
  std::error_code ignored;
  fs::path whole = fs::weakly_canonical(path, ignored);
  return whole.has_filename() ? whole : whole.parent_path();
}

// Whether `own` is this entry or lies in it.
bool leads_to(const fs::path& entry, const fs::path& own) {
  const fs::path outer = plain(entry), inner = plain(own);
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

std::vector<std::string> names_that_count(const fs::path& folder, std::span<const fs::path> own) {
  std::vector<std::string> names = folder_names(folder);
  std::erase_if(names, [&](const std::string& name) {
    return name.starts_with(".") || name.starts_with("events.out.tfevents.") || name == "lost+found" ||
           std::any_of(own.begin(), own.end(), [&](const fs::path& path) { return leads_to(folder / name, path); });
  });
  return names;
}

// Nothing is there, not even under a broken link. Throws IoError if that cannot be known.
bool is_absent(const fs::path& path, FolderUse use) {
  std::error_code error;
  const auto type = fs::status(path, error).type();
  if (type == fs::file_type::none) {
    throw IoError(fmt::format("cannot read {}: {}", named(path, use), error.message()));
  }
  if (type != fs::file_type::not_found) return false;
  if (error == std::errc::not_a_directory) {
    throw IoError(fmt::format("cannot read {}: {}", named(path, use), error.message()));
  }
  if (const std::string dangling = dangling_link(path); !dangling.empty()) {
    throw IoError(fmt::format("{}: {}. {}", named(path, use), dangling, instead(use)));
  }
  return true;
}

// What to say of a complete checkpoint under a name that is none of a checkpoint; empty where there is none.
std::string renamed_checkpoint(const fs::path& folder, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    std::error_code ignored;
    if (!fs::is_regular_file(folder / name / kManifestName, ignored)) continue;
    try {
      const std::int64_t iteration = read_complete_manifest(folder / name).iteration;
      return fmt::format("holds no checkpoint under its name, but {} is one of iteration {}: rename it to {}", name,
                         iteration, iteration_name(iteration));
    } catch (const std::exception&) {  // damaged as well: it is listed with the other things
    }
  }
  return "";
}

[[noreturn]] void refuse_damaged(const fs::path& folder, const CheckpointSearch& search, FolderUse use) {
  std::string text = fmt::format("{}: there are checkpoints and none can be loaded:", named(folder, use));
  for (const CheckpointCandidate& damaged : search.damaged) {
    const auto kind = fs::exists(damaged.folder) ? foreign_kind(damaged.folder, use) : std::nullopt;
    const bool foreign = kind && kind->starts_with("is a checkpoint of");
    text += fmt::format("\n  iteration {}: {}", damaged.iteration, foreign ? "it " + *kind : damaged.problem);
  }
  std::vector<std::string> others;
  for (const CheckpointCandidate& other : search.others) {
    if (other.problem.empty()) others.push_back(fmt::format("{}", other.iteration));
  }
  if (!others.empty()) {
    text += fmt::format(
        "\n  The folder also holds complete checkpoints of another branch or run: iterations {}. If one of them is "
        "meant, {}",
        join(others, ", "), how_to_take("name it", use));
  }
  throw IoError(fmt::format("{}\n  {}", text, instead(use)));
}

// The pointer names a checkpoint whose manifest cannot be read, although one of a larger iteration is complete: it may
// have been saved last, on another branch.
void refuse_ambiguous(const fs::path& folder, const CheckpointSearch& search, FolderUse use) {
  const fs::path tracker = folder / kTrackerName;
  std::error_code ignored;
  if (search.unplaced.empty() || !fs::is_regular_file(tracker, ignored)) return;
  const std::string latest(trim(read_file(tracker)));
  for (const CheckpointCandidate& damaged : search.unplaced) {
    if (latest != fmt::format("{}", damaged.iteration)) continue;
    throw IoError(fmt::format(
        "{}: {}. By {} it was saved last, so iteration {} may belong to a branch that was left. {}", named(folder, use),
        damaged.problem, kTrackerName, search.newest->iteration,
        how_to_take(use == FolderUse::load ? "Name the checkpoint to go on from" : "Name the checkpoint to show",
                    use)));
  }
}

}  // namespace

std::optional<CheckpointSearch> search_load_folder(const fs::path& load_folder, std::span<const fs::path> own,
                                                   FolderUse use) {
  if (is_absent(load_folder, use)) return std::nullopt;
  std::error_code ignored;
  if (!fs::is_directory(load_folder, ignored)) {
    refuse(load_folder, foreign_kind(load_folder, use).value_or("is not a folder"), use);
  }
  CheckpointSearch search = find_newest_checkpoint(load_folder);
  if (search.newest) {
    refuse_ambiguous(load_folder, search, use);
    return search;
  }
  const std::vector<std::string> names = names_that_count(load_folder, own);
  if (search.damaged.empty() && names.empty()) return std::nullopt;
  if (const auto kind = foreign_kind(load_folder, use)) refuse(load_folder, *kind, use);
  if (!search.damaged.empty()) refuse_damaged(load_folder, search, use);
  if (const std::string renamed = renamed_checkpoint(load_folder, names); !renamed.empty())
    refuse(load_folder, renamed, use);
  constexpr std::size_t kShown = 5;
  std::vector<std::string> first(names.begin(),
                                 names.begin() + static_cast<std::ptrdiff_t>(std::min(kShown, names.size())));
  refuse(load_folder,
         fmt::format("holds no checkpoint, but other things ({}{})", join(first, ", "),
                     names.size() > kShown ? fmt::format(" and {} more", names.size() - kShown) : ""),
         use);
}

}  // namespace ringtron

#include "ringtron/train/start_up/output_folders.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmath>
#include <span>
#include <system_error>

#include "ringtron/base/error.h"
#include "ringtron/base/guarded_file.h"
#include "ringtron/base/log.h"
#include "ringtron/base/process.h"
#include "ringtron/checkpoint/checkpoint_finder.h"
#include "ringtron/checkpoint/checkpoint_names.h"
#include "ringtron/checkpoint/file_system.h"
#include "ringtron/data/open_split.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/data_config.h"

namespace ringtron {
namespace {

constexpr std::string_view kText = "ringtron";

// A file without a name, which leaves nothing behind however the process ends. False: the file system has none.
bool wrote_nameless_file(const std::filesystem::path& folder) {
  const int fd = ::open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  const bool wrote = ::write(fd, kText.data(), kText.size()) == static_cast<ssize_t>(kText.size());
  return ::close(fd) == 0 && wrote;
}

// Its name is the host's alone, so that one that a killed process has left goes at the next start.
void write_named_file(const std::filesystem::path& folder) {
  DiskFileSystem files;
  const auto path = folder / fmt::format(".ringtron_probe.{}", host_name());
  try {
    const auto file = files.create(path);
    file->write(std::as_bytes(std::span(kText)));
    file->close();
  } catch (...) {
    std::error_code ignored;  // the first error is the one to report
    std::filesystem::remove(path, ignored);
    throw;
  }
  files.remove(path);
}

double gigabytes(double bytes) { return bytes / 1e9; }

}  // namespace

void require_writable(const std::string& flag, const std::filesystem::path& folder) {
  try {
    DiskFileSystem files;
    if (const std::string dangling = dangling_link(folder); !dangling.empty()) throw IoError(dangling);
    if (std::filesystem::exists(folder) && !std::filesystem::is_directory(folder)) {
      const std::string kind = not_a_file(folder);
      throw IoError(fmt::format("{} is {}, not a folder", folder.string(), kind.empty() ? "a file" : kind));
    }
    files.make_folder(folder);
    if (!wrote_nameless_file(folder)) write_named_file(folder);
  } catch (const IoError& error) {
    throw IoError(fmt::format("{}: {}. Give a folder that can be made and written", flag, error.what()));
  } catch (const std::filesystem::filesystem_error& error) {
    throw IoError(fmt::format("{}: {}. Give a folder that can be made and written", flag, error.what()));
  }
}

void require_output_folders(const Job& job) {
  const std::string& events = job.config()->logging.tensorboard_dir;
  const std::string& cache = job.config()->data.data_cache_path;
  run_collectively(job.world(), [&] {
    if (job.is_last_rank() && !events.empty()) require_writable("--tensorboard-dir", events);
    if (cache.empty() || job.environment().local_rank != 0) return;
    std::error_code error;
    const bool was_there = std::filesystem::is_directory(cache, error);
    try {
      require_writable("--data-cache-path", cache);
    } catch (const IoError& e) {
      if (!was_there) throw;
      warn_line("{}; indices that are not in it yet are built again at every start", e.what());
    }
  });
}

void require_input_files(const Job& job) {
  const Config& config = job.config();
  if (config.data.mock_data) return;
  run_collectively(job.world(), [&] {
    validation_sets(config);
    const auto wanted = wanted_samples(config);
    for (int i = 0; i < kSplitCount; ++i) {
      require_corpus_files(sources_of(config), static_cast<Split>(i), wanted[static_cast<std::size_t>(i)]);
    }
  });
}

std::vector<std::string> space_warnings(const SpaceNeeded& needed) {
  std::vector<std::string> lines;
  const double one = static_cast<double>(needed.checkpoint_bytes);
  std::error_code error;
  const auto space = std::filesystem::space(needed.folder, error);
  if (needed.tells && !error && needed.saves > 0) {
    const double free = static_cast<double>(space.available), all = one * static_cast<double>(needed.saves);
    if (one > free) {
      lines.push_back(
          fmt::format("--save {}: a checkpoint takes {:.3f} GB, {:.3f} GB are free: no save will succeed. Free "
                      "some space or give another folder",
                      needed.folder.string(), gigabytes(one), gigabytes(free)));
    } else if (all > free) {
      lines.push_back(
          fmt::format("--save {}: a checkpoint takes {:.3f} GB, {:.3f} GB are free: space for {:.0f} of the {} saves "
                      "of this run. Free some space, give another folder or raise --save-interval",
                      needed.folder.string(), gigabytes(one), gigabytes(free), std::floor(free / one), needed.saves));
    }
  }
  rlimit limit{};
  if (needed.saves > 0 && ::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
      needed.own_bytes > limit.rlim_cur) {
    lines.push_back(
        fmt::format("--save {}: this rank's file of a checkpoint takes {:.3f} GB, but the limit on file sizes is "
                    "{:.3f} GB: no save will succeed. Raise it (ulimit -f)",
                    needed.folder.string(), gigabytes(static_cast<double>(needed.own_bytes)),
                    gigabytes(static_cast<double>(limit.rlim_cur))));
  }
  return lines;
}

std::vector<std::string> name_warnings(const std::filesystem::path& folder, std::int64_t from, std::int64_t to) {
  std::vector<std::string> lines;
  for (const std::int64_t iteration : list_iterations(folder)) {
    if (iteration <= from || iteration > to) continue;
    const auto path = iteration_folder(folder, iteration);
    const std::string why = why_immovable(path);
    if (why.empty()) continue;
    lines.push_back(
        fmt::format("--save {}: {} cannot be moved ({}): a save of iteration {} will go to {}, where a load finds it",
                    folder.string(), path.string(), why, iteration, beside_path(folder, iteration, 0).string()));
  }
  return lines;
}

}  // namespace ringtron

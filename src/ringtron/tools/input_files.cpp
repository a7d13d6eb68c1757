#include "ringtron/tools/input_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <glob.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>

#include "ringtron/base/error.h"
#include "ringtron/base/guarded_file.h"
#include "ringtron/base/text.h"
#include "ringtron/tools/byte_source.h"

namespace ringtron {
namespace {

namespace fs = std::filesystem;

constexpr int kLeftOutTold = 5;

[[noreturn]] void refuse(const std::string& input, const std::string& why) {
  throw ConfigError(fmt::format("--input {}: {}", excerpt(input, 200), why));
}

std::vector<std::string> match_pattern(const std::string& pattern) {
  glob_t matches{};
  std::vector<std::string> paths;
  if (::glob(pattern.c_str(), 0, nullptr, &matches) == 0) {
    paths.assign(matches.gl_pathv, matches.gl_pathv + matches.gl_pathc);
  }
  ::globfree(&matches);
  return paths;
}

std::string first_bytes(const std::string& path) {
  std::string head(16, '\0');
  const int fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  const ssize_t count = fd < 0 ? 0 : ::read(fd, head.data(), head.size());
  if (fd >= 0) ::close(fd);
  head.resize(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  return head;
}

// Whether a compressed file in a folder was surely meant to be read.
bool is_named_like_text(const fs::path& path) {
  const std::string below = lower(path.stem().extension().string());
  return below == ".jsonl" || below == ".ndjson" || below == ".json" || below == ".txt";
}

bool is_terminal(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  const bool terminal = fd >= 0 && ::isatty(fd) == 1;
  if (fd >= 0) ::close(fd);
  return terminal;
}

bool is_null_device(const struct stat& info) { return major(info.st_rdev) == 1 && minor(info.st_rdev) == 3; }

// Refuses what would never end or can never be read.
void check_readable(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) refuse(path, std::strerror(errno));
  if (S_ISBLK(info.st_mode) || S_ISSOCK(info.st_mode) ||
      (S_ISCHR(info.st_mode) && !is_null_device(info) && !is_terminal(path))) {
    refuse(path,
           fmt::format("expected a file, a folder or a pipe, got a {}", S_ISSOCK(info.st_mode) ? "socket" : "device"));
  }
  if (::access(path.c_str(), R_OK) != 0) refuse(path, std::strerror(errno));
}

class Finder {
 public:
  explicit Finder(const std::function<void(const std::string&)>& notice) : notice_(notice) {}

  void add_input(const std::string& input) {
    if (input == "-") {
      if (::isatty(STDIN_FILENO) == 0) check_readable("/dev/stdin");
      add({"-", false}, "-");
      return;
    }
    std::error_code ignored;
    const bool is_there = fs::exists(input, ignored);
    const std::vector<std::string> paths = is_there ? std::vector<std::string>{input} : match_pattern(input);
    if (paths.empty()) refuse(input, "expected a text file, a folder of them or a pattern, but there is no such file");
    for (const std::string& path : paths) {
      if (fs::is_directory(path, ignored)) {
        add_folder(path);
      } else {
        check_readable(path);
        if (fs::is_regular_file(path, ignored)) {
          if (const std::string why = refused_format(path, first_bytes(path)); !why.empty()) refuse(path, why);
        }
        add({path, false}, real_name(path));
      }
    }
  }

  std::vector<InputFile> finish() {
    if (left_out_ > kLeftOutTold)
      notice_(fmt::format("{} more entries of folders are left out", left_out_ - kLeftOutTold));
    return std::move(files_);
  }

 private:
  static std::string real_name(const std::string& path) {
    std::error_code error;
    const fs::path real = fs::canonical(path, error);
    return error ? path : real.string();
  }

  void add(InputFile file, const std::string& real) {
    if (seen_.insert(real).second) files_.push_back(std::move(file));
  }

  void leave_out(const fs::path& path, const char* why) {
    if (++left_out_ <= kLeftOutTold) notice_(fmt::format("{} is left out: it is {}", excerpt(path.string(), 200), why));
  }

  void add_folder(const std::string& folder) {
    std::set<fs::path> found;
    std::error_code error;
    fs::recursive_directory_iterator i(folder, error), end;
    for (; !error && i != end; i.increment(error)) add_entry(i, found);
    if (error) refuse(folder, fmt::format("cannot read the folder or one below it: {}", error.message()));
    if (found.empty())
      refuse(folder, "expected a text file, a folder of them or a pattern, but the folder has no files");
    for (const fs::path& path : found) {
      check_readable(path.string());
      const std::string why = refused_format(path.string(), first_bytes(path.string()));
      if (!why.empty() && is_named_like_text(path)) refuse(path.string(), why);
      if (!why.empty()) {
        leave_out(path, "of a format that is not read here (xz, zip, lz4, Parquet)");
        continue;
      }
      add({path.string(), true}, real_name(path.string()));
    }
  }

  void add_entry(fs::recursive_directory_iterator& i, std::set<fs::path>& found) {
    std::error_code error;
    const fs::file_status status = i->status(error);
    if (i->path().filename().string().starts_with('.')) {
      if (fs::is_directory(status)) i.disable_recursion_pending();
    } else if (fs::is_regular_file(status)) {
      found.insert(i->path());
    } else if (fs::is_directory(status)) {
      if (i->is_symlink(error)) leave_out(i->path(), "a link to a folder; name that folder too if you want it");
    } else {
      const bool link = i->is_symlink(error) && !fs::exists(status);
      leave_out(i->path(), link                  ? "a link to nothing"
                           : fs::is_fifo(status) ? "a pipe; name it to read from it"
                                                 : not_a_file(i->path()));
    }
  }

  const std::function<void(const std::string&)>& notice_;
  std::vector<InputFile> files_;
  std::set<std::string> seen_;
  int left_out_ = 0;
};

}  // namespace

std::vector<InputFile> find_input_files(std::span<const std::string> inputs,
                                        const std::function<void(const std::string&)>& notice) {
  Finder finder(notice);
  for (const std::string& input : inputs) {
    // A comma may also be part of one existing name.
    std::error_code ignored;
    if (fs::exists(input, ignored)) {
      finder.add_input(input);
    } else {
      for (const std::string& item : split(input, ',')) {
        if (!item.empty()) finder.add_input(item);
      }
    }
  }
  std::vector<InputFile> files = finder.finish();
  if (files.empty()) throw ConfigError("--input: expected a file, a folder or a pattern, got an empty name");
  return files;
}

std::optional<std::int64_t> total_bytes(std::span<const InputFile> files) {
  std::int64_t total = 0;
  for (const InputFile& file : files) {
    struct stat info{};
    if (file.path == "-" || ::stat(file.path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
    total += info.st_size;
  }
  return total;
}

}  // namespace ringtron

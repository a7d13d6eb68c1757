#include "ringtron/telemetry/tensorboard/event_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <ctime>
#include <limits>
#include <system_error>
#include <utility>
#include <vector>

#include "ringtron/base/process.h"
#include "ringtron/telemetry/tensorboard/event_history.h"

namespace ringtron {
namespace {

constexpr std::string_view kPrefix = "events.out.tfevents.";

// Readers take the files in the order of their names, so the name of a new file begins with one that is behind those of
// all others: later seconds, also within one second and when a clock was set back; where no number is, as behind the
// last of ten digits, a '~' before it, which is behind all digits and letters.
std::string next_start(const std::filesystem::path& folder) {
  const auto now = static_cast<std::int64_t>(std::time(nullptr));
  std::vector<std::string> names = event_file_names(folder);
  std::erase_if(names, [](const std::string& name) { return !name.starts_with(kPrefix); });
  std::string stem(kPrefix);
  std::int64_t next = now;
  if (!names.empty()) {
    const std::string& last = names.back();
    while (stem.size() < last.size() && last[stem.size()] == '~') stem += '~';
  }
  for (const std::string& name : names) {
    if (!name.starts_with(stem)) continue;
    std::int64_t seconds = 0;
    std::from_chars(name.data() + stem.size(), name.data() + name.size(), seconds);
    if (seconds < std::numeric_limits<std::int64_t>::max()) next = std::max(next, seconds + 1);
  }
  std::string start = fmt::format("{}{:010d}", stem, next);
  if (names.empty() || start > names.back()) return start;
  return fmt::format("{}~{:010d}", stem, now);
}

}  // namespace

int EventFile::create(const std::filesystem::path& folder) {
  close();
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return error.value();
  const std::string start = next_start(folder);
  for (int n = 0;; ++n) {
    path_ = folder / fmt::format("{}.{}.{}.{}", start, host_name(), ::getpid(), n);
    // Another process, on another machine too, may be at the same name.
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
    if (fd_ >= 0) break;
    if (errno != EEXIST && errno != EINTR) return errno;
  }
  size_ = 0;
  ::flock(fd_, LOCK_EX | LOCK_NB);  // for is_written(); a file system without locks tells nobody
  return 0;
}

int EventFile::append(std::string_view records) {
  std::size_t done = 0;
  while (done < records.size()) {
    const ssize_t n = ::write(fd_, records.data() + done, records.size() - done);
    if (n >= 0) {
      done += static_cast<std::size_t>(n);
    } else if (errno != EINTR) {
      const int error = errno;
      if (::ftruncate(fd_, size_) != 0) close();
      return error;
    }
  }
  size_ += static_cast<std::int64_t>(done);
  return 0;
}

bool EventFile::is_in_place() const {
  struct stat here{}, there{};
  if (::fstat(fd_, &here) != 0) return false;
  if (::stat(path_.c_str(), &there) != 0) return errno != ENOENT && errno != ENOTDIR && errno != ESTALE;
  return here.st_ino == there.st_ino && here.st_dev == there.st_dev;
}

bool is_written(const std::filesystem::path& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return false;
  const bool locked = ::flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ::close(fd);
  return locked;
}

void EventFile::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

void EventFile::discard() {
  if (fd_ < 0) return;
  ::unlink(path_.c_str());
  close();
}

}  // namespace ringtron

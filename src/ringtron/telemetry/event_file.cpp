#include "ringtron/telemetry/event_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <ctime>
#include <system_error>
#include <utility>

#include "ringtron/base/process.h"
#include "ringtron/telemetry/event_history.h"

namespace ringtron {
namespace {

constexpr std::string_view kPrefix = "events.out.tfevents.";
constexpr std::int64_t kDay = 86'400;

// Readers take the files in the order of their names, so the seconds of a new file are behind those of all others, also
// within one second and when a clock was set back. Names from a far future are left alone.
std::int64_t next_seconds(const std::filesystem::path& folder) {
  const auto now = static_cast<std::int64_t>(std::time(nullptr));
  std::int64_t next = now;
  for (const std::string& name : event_file_names(folder)) {
    if (!name.starts_with(kPrefix)) continue;
    std::int64_t seconds = 0;
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), seconds);
    if (seconds < now + kDay) next = std::max(next, seconds + 1);
  }
  return next;
}

}  // namespace

int EventFile::create(const std::filesystem::path& folder) {
  close();
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return error.value();
  const std::int64_t seconds = next_seconds(folder);
  for (int n = 0;; ++n) {
    path_ = folder / fmt::format("{}{:010d}.{}.{}.{}", kPrefix, seconds, host_name(), ::getpid(), n);
    // Another process, on another machine too, may be at the same name.
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
    if (fd_ >= 0) break;
    if (errno != EEXIST && errno != EINTR) return errno;
  }
  size_ = 0;
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
  struct stat here {}, there {};
  if (::fstat(fd_, &here) != 0) return false;
  if (::stat(path_.c_str(), &there) != 0) return errno != ENOENT && errno != ENOTDIR && errno != ESTALE;
  return here.st_ino == there.st_ino && here.st_dev == there.st_dev;
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

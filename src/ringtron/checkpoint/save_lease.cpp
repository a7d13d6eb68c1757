#include "ringtron/checkpoint/save_lease.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "ringtron/base/error.h"
#include "ringtron/base/guarded_file.h"
#include "ringtron/base/log.h"
#include "ringtron/base/process.h"

namespace ringtron {
namespace {

constexpr const char* kLockName = ".lease";

std::string holder_of(int fd) {
  char text[256];
  const ssize_t n = ::pread(fd, text, sizeof text, 0);
  return n > 0 ? std::string(text, static_cast<std::size_t>(n)) : std::string("an unknown process");
}

std::string this_process() { return fmt::format("process {} on {}", ::getpid(), host_name()); }

// The lock file, or -1 with errno. A link is not followed: its target is not ours.
int open_lock_file(const std::filesystem::path& path) {
  constexpr int kFlags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | kFlags, 0644);
  if (fd < 0 && errno == EACCES) fd = ::open(path.c_str(), O_RDONLY | kFlags);  // another user's; a lock needs no more
  struct stat info{};
  if (fd >= 0 && (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))) {
    ::close(fd);
    errno = EEXIST;
    return -1;
  }
  return fd;
}

// Whether the file is still the one under this name: its last holder's friends may have removed it meanwhile.
bool is_still_named(int fd, const std::filesystem::path& path) {
  struct stat opened{}, named{};
  return ::fstat(fd, &opened) == 0 && ::lstat(path.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
         opened.st_dev == named.st_dev;
}

// Only for the message to a second run; the lock is what counts, so a full disk does not matter here.
void write_holder(int fd) {
  struct stat info{};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_nlink != 1) return;
  const std::string text = this_process();
  if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, text.data(), text.size(), 0) < 0) return;
}

}  // namespace

SaveLease::SaveLease(std::filesystem::path save_folder) : save_folder_(std::move(save_folder)) {
  if (const std::string dangling = dangling_link(save_folder_); !dangling.empty()) {
    throw IoError(fmt::format("{}. Make the folder, or remove the link", dangling));
  }
  std::error_code error;
  std::filesystem::create_directories(save_folder_, error);
  if (error) throw IoError(fmt::format("cannot make folder {}: {}", save_folder_.string(), error.message()));
  const auto path = save_folder_ / kLockName;
  do {
    if (fd_ >= 0) ::close(fd_);
    fd_ = open_lock_file(path);
    is_file_ = fd_ >= 0;
    if (!is_file_) {
      warn_line("{} cannot be a lock ({}); the folder itself is locked instead", path.string(), std::strerror(errno));
      fd_ = ::open(save_folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      if (fd_ < 0) throw IoError(fmt::format("cannot open folder {}: {}", save_folder_.string(), std::strerror(errno)));
    }
    lock(is_file_ ? path : save_folder_);
  } while (is_file_ && !is_still_named(fd_, path));
  if (is_file_) write_holder(fd_);
}

bool SaveLease::is_held() const { return !is_file_ || is_still_named(fd_, save_folder_ / kLockName); }

void SaveLease::lock(const std::filesystem::path& path) {
  if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
  const int code = errno;
  if (code != EWOULDBLOCK) {
    warn_line("cannot lock {}: {}; nothing keeps a second run from saving there", path.string(), std::strerror(code));
    return;
  }
  const std::string holder = holder_of(fd_);
  ::close(std::exchange(fd_, -1));
  throw ConfigError(fmt::format("--save {} is being written by another run ({}). End that run or choose another folder",
                                save_folder_.string(), holder));
}

SaveLease::~SaveLease() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace ringtron

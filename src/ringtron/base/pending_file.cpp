#include "ringtron/base/pending_file.h"

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
#include "ringtron/base/file.h"
#include "ringtron/base/guarded_file.h"

namespace ringtron {
namespace {

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& why) {
  throw ConfigError(fmt::format("cannot write {}: {}", path.string(), why));
}

[[noreturn]] void fail(const char* what, const std::filesystem::path& path) {
  const int code = errno;
  const bool full = code == ENOSPC || code == EDQUOT || code == EFBIG;
  throw IoError(
      fmt::format("cannot {} {}: {}{}", what, path.string(), std::strerror(code),
                  full ? ". Free some space or choose another folder; what was there before is untouched" : ""));
}

// The file `partial`, empty and locked. A writer that publishes or gives up takes the name away while others may just
// have opened it; they hold a file without a name then, and look again.
int open_locked(const std::filesystem::path& path, const std::filesystem::path& partial) {
  while (true) {
    // Without O_NONBLOCK a FIFO at that name would hang; O_NOFOLLOW: a link may lead to another's file.
    const int fd = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
    if (fd < 0) {
      const bool other = errno == ELOOP || errno == ENXIO || errno == EISDIR;
      refuse(path, other ? fmt::format("{} stands in the way and is not a file of ours; remove it", partial.string())
                         : fmt::format("{}. Give a folder that can be made and written", std::strerror(errno)));
    }
    struct stat mine{}, named{};
    if (::fstat(fd, &mine) != 0 || !S_ISREG(mine.st_mode) || mine.st_nlink > 1) {
      ::close(fd);
      refuse(path, fmt::format("{} stands in the way and is not a file of ours; remove it", partial.string()));
    }
    // A file system without locks gives another error; there two runs are the user's care.
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      ::close(fd);
      refuse(path, "another run is writing it now. Wait for it, or give another output");
    }
    if (::stat(partial.c_str(), &named) == 0 && named.st_ino == mine.st_ino && named.st_dev == mine.st_dev) {
      if (::ftruncate(fd, 0) != 0) {
        ::close(fd);
        fail("empty", partial);
      }
      return fd;
    }
    ::close(fd);
  }
}

}  // namespace

PendingFile::PendingFile(std::filesystem::path path)
    : path_(std::move(path)), partial_(path_.string() + ".ringtron-partial") {
  std::error_code error;
  const auto status = std::filesystem::status(path_, error);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    refuse(path_, fmt::format("it is {}; expected a file, or a name that is free", not_a_file(path_)));
  }
  fd_ = open_locked(path_, partial_);
}

PendingFile::~PendingFile() {
  if (fd_ < 0) return;
  ::unlink(partial_.c_str());  // before the lock goes with the descriptor
  ::close(fd_);
}

void PendingFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("write", partial_);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

void PendingFile::write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }

void PendingFile::publish() {
  if (::fsync(fd_) != 0) fail("sync", partial_);
  if (::rename(partial_.c_str(), path_.c_str()) != 0) fail("rename to", path_);
  ::close(std::exchange(fd_, -1));
  sync_folder(path_.has_parent_path() ? path_.parent_path() : std::filesystem::path("."));
}

}  // namespace ringtron

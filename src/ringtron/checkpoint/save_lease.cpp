#include "ringtron/checkpoint/save_lease.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

std::string holder_of(int fd) {
  char text[256];
  const ssize_t n = ::pread(fd, text, sizeof text, 0);
  return n > 0 ? std::string(text, static_cast<std::size_t>(n)) : std::string("an unknown process");
}

std::string this_process() {
  char host[128] = "unknown host";
  ::gethostname(host, sizeof host - 1);
  return fmt::format("process {} on {}", ::getpid(), host);
}

}  // namespace

SaveLease::SaveLease(std::filesystem::path save_folder) : save_folder_(std::move(save_folder)) {
  std::error_code error;
  std::filesystem::create_directories(save_folder_, error);
  if (error) throw IoError(fmt::format("cannot make folder {}: {}", save_folder_.string(), error.message()));
  const auto path = save_folder_ / ".lease";
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) throw IoError(fmt::format("cannot create {}: {}", path.string(), std::strerror(errno)));
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    const int code = errno;
    const std::string holder = holder_of(fd_);
    ::close(fd_);
    if (code == EWOULDBLOCK) {
      throw ConfigError(
          fmt::format("--save {} is being written by another run ({}). End that run or choose another folder",
                      save_folder_.string(), holder));
    }
    throw IoError(fmt::format("cannot lock {}: {}", path.string(), std::strerror(code)));
  }
  // Only for the message above; the lock is what counts, so a full disk does not matter here.
  const std::string text = this_process();
  if (::ftruncate(fd_, 0) != 0 || ::pwrite(fd_, text.data(), text.size(), 0) < 0) return;
}

SaveLease::~SaveLease() {
  ::close(fd_);
}

}  // namespace ringtron

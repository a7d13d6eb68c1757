#include "ringtron/comm/peer_copy/shared_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw IoError(fmt::format("shared memory: {}: {}", what, std::strerror(errno)));
}

}  // namespace

SharedMemory::SharedMemory(int file, std::size_t bytes) : file_(file), size_(bytes) {
  void* place = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (place == MAP_FAILED) {
    const int error = errno;
    ::close(file);
    errno = error;
    refuse(fmt::format("cannot map {} bytes", bytes));
  }
  data_ = static_cast<std::byte*>(place);
}

SharedMemory SharedMemory::make(std::size_t bytes) {
  const int file = ::memfd_create("ringtron", MFD_CLOEXEC);
  if (file < 0) refuse("cannot make it");
  if (::ftruncate(file, static_cast<off_t>(bytes)) != 0) {
    const int error = errno;
    ::close(file);
    errno = error;
    refuse(fmt::format("cannot have {} bytes", bytes));
  }
  return {file, bytes};
}

SharedMemory SharedMemory::open(const std::string& address, std::size_t bytes) {
  const int file = ::open(address.c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) refuse(fmt::format("cannot open {}", address));
  struct stat status{};
  // Another container's process can have the number of one of ours: what is there need not be what was meant.
  if (::fstat(file, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size != static_cast<off_t>(bytes)) {
    ::close(file);
    errno = EINVAL;
    refuse(fmt::format("expected {} bytes at {}", bytes, address));
  }
  return {file, bytes};
}

SharedMemory::~SharedMemory() {
  if (data_ != nullptr) ::munmap(data_, size_);
  if (file_ >= 0) ::close(file_);
}

SharedMemory::SharedMemory(SharedMemory&& other) noexcept
    : file_(std::exchange(other.file_, -1)), size_(other.size_), data_(std::exchange(other.data_, nullptr)) {}

std::string SharedMemory::address() const { return fmt::format("/proc/{}/fd/{}", ::getpid(), file_); }

}  // namespace ringtron

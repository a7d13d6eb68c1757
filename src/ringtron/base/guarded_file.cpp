#include "ringtron/base/guarded_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <system_error>
#include <utility>

#include "ringtron/base/error.h"

namespace ringtron {
namespace internal {

// One mapping that the handler knows. Regions are never freed, only used again, so that the handler may walk the list
// at any time.
struct GuardedRegion {
  std::atomic<std::uintptr_t> begin{0};  // 0: not in use
  std::atomic<std::uintptr_t> end{0};    // of the last page
  std::atomic<bool> lost{false};
  GuardedRegion* next = nullptr;
};

}  // namespace internal

namespace {

using internal::GuardedRegion;

std::mutex g_mutex;  // of those who add and remove; the handler takes no lock
std::atomic<GuardedRegion*> g_regions{nullptr};
std::uintptr_t g_page = 0;
struct sigaction g_before{};

// Only what may be done in a signal handler: atomics and system calls.
void on_bus_error(int signal, siginfo_t* info, void*) {
  const int code = errno;
  const auto at = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (GuardedRegion* r = g_regions.load(); r != nullptr; r = r->next) {
    const std::uintptr_t begin = r->begin.load(), end = r->end.load();
    if (begin == 0 || at < begin || at >= end) continue;
    const std::uintptr_t page = at & ~(g_page - 1);
    void* zeros =
        ::mmap(reinterpret_cast<void*>(page), end - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (zeros == MAP_FAILED) break;
    r->lost.store(true);
    errno = code;
    return;  // the read is tried again, and finds zeros
  }
  // Not ours: as if this handler did not exist. Returning repeats the access.
  ::sigaction(signal, &g_before, nullptr);
  errno = code;
}

void install_handler() {
  static const bool once = [] {
    g_page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    struct sigaction action{};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    return ::sigaction(SIGBUS, &action, &g_before) == 0;
  }();
  (void)once;
}

GuardedRegion* add_region(const void* data, std::size_t size) {
  install_handler();
  const std::lock_guard lock(g_mutex);
  GuardedRegion* region = g_regions.load();
  while (region != nullptr && region->begin.load() != 0) region = region->next;
  if (region == nullptr) {
    region = new GuardedRegion;
    region->next = g_regions.load();
    g_regions.store(region);
  }
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  region->lost.store(false);
  region->end.store((begin + size + g_page - 1) & ~(g_page - 1));
  region->begin.store(begin);
  return region;
}

void remove_region(GuardedRegion* region) {
  const std::lock_guard lock(g_mutex);
  region->begin.store(0);
}

[[noreturn]] void fail(const char* what, const std::filesystem::path& path) {
  throw IoError(fmt::format("{} {}: {}", what, path.string(), std::strerror(errno)));
}

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a named pipe";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  if (S_ISSOCK(mode)) return "a socket";
  return S_ISREG(mode) ? "" : "no file";
}

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

}  // namespace

const char* not_a_file(const std::filesystem::path& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 ? kind_of(info.st_mode) : "";
}

std::string dangling_link(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::path part;
  for (const fs::path& name : path) {
    part /= name;
    if (fs::is_symlink(part, error) && fs::status(part, error).type() == fs::file_type::not_found) {
      return fmt::format("{} is a symbolic link to {}, which does not exist", part.string(),
                         fs::read_symlink(part, error).string());
    }
  }
  return "";
}

GuardedFile::GuardedFile(std::filesystem::path path) : path_(std::move(path)) {
  // A pipe without a writer would hold a blocking open for ever.
  const Descriptor file{::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
  if (file.fd < 0) fail("cannot open", path_);
  struct stat info{};
  if (::fstat(file.fd, &info) != 0) fail("cannot stat", path_);
  if (!S_ISREG(info.st_mode)) {
    throw IoError(fmt::format("cannot read {}: expected a file, it is {}", path_.string(), kind_of(info.st_mode)));
  }
  device_ = info.st_dev;
  inode_ = info.st_ino;
  size_ = static_cast<std::size_t>(info.st_size);
  if (size_ == 0) return;
  void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.fd, 0);
  if (mapped == MAP_FAILED) fail("cannot map", path_);
  data_ = static_cast<const std::byte*>(mapped);
  region_ = add_region(data_, size_);
}

GuardedFile::~GuardedFile() {
  if (region_ != nullptr) remove_region(region_);
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

GuardedFile::GuardedFile(GuardedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      device_(other.device_),
      inode_(other.inode_),
      region_(std::exchange(other.region_, nullptr)) {}

GuardedFile& GuardedFile::operator=(GuardedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(device_, other.device_);
  std::swap(inode_, other.inode_);
  std::swap(region_, other.region_);
  return *this;
}

void GuardedFile::require_whole() const {
  const char* advice = "The data must stay as it is while it is read: put the file back as it was and start again";
  if (region_ != nullptr && region_->lost.load()) {
    throw IoError(
        fmt::format("{} can no longer be read: it was cut off while it was in use, or its disk fails (it had {} "
                    "bytes). {}",
                    path_.string(), size_, advice));
  }
  // Within the last page a cut makes zeros without a signal. What the system knows is enough: no server is asked.
  struct statx now{};
  if (::statx(AT_FDCWD, path_.c_str(), AT_STATX_DONT_SYNC, STATX_SIZE | STATX_INO, &now) != 0) return;  // unlinked
  if (now.stx_ino != inode_ || makedev(now.stx_dev_major, now.stx_dev_minor) != device_) return;        // replaced
  if (now.stx_size < size_) {
    throw IoError(fmt::format("{} was cut off while it was in use: it had {} bytes and now has {}. {}", path_.string(),
                              size_, static_cast<std::uint64_t>(now.stx_size), advice));
  }
}

}  // namespace ringtron

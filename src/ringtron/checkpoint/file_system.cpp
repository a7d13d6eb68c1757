#include "ringtron/checkpoint/file_system.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"

namespace ringtron {
namespace {

class DiskFile final : public WritableFile {
 public:
  explicit DiskFile(const std::filesystem::path& path) : file_(path) {}
  void write(std::span<const std::byte> bytes) override { file_.write(bytes); }
  void sync() override { file_.sync(); }
  void close() override { file_.close(); }

 private:
  OutputFile file_;
};

[[noreturn]] void fail(const char* what, const std::filesystem::path& path, const std::error_code& error) {
  throw IoError(fmt::format("cannot {} {}: {}", what, path.string(), error.message()));
}

std::error_code last_error() { return {errno, std::generic_category()}; }

// The folder's entries in a fixed order, so that a crash between any two removals can be repeated.
std::vector<std::filesystem::path> entries_of(const std::filesystem::path& folder, const std::filesystem::path& first) {
  std::error_code error;
  std::vector<std::filesystem::path> entries;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    entries.push_back(entry->path());
  }
  if (error) fail("list folder", folder, error);
  std::sort(entries.begin(), entries.end(), [&](const auto& a, const auto& b) {
    const bool a_first = a.filename() == first, b_first = b.filename() == first;
    return a_first != b_first ? a_first : a < b;
  });
  return entries;
}

void sweep_on_device(FileSystem& files, const std::filesystem::path& path, const std::filesystem::path& first,
                     dev_t device) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return;
    fail("look at", path, last_error());
  }
  if (S_ISDIR(info.st_mode)) {
    if (info.st_dev != device) throw IoError(fmt::format("cannot remove {}: it is mounted there", path.string()));
    for (const auto& entry : entries_of(path, first)) sweep_on_device(files, entry, first, device);
  }
  files.remove(path);
}

}  // namespace

std::unique_ptr<WritableFile> DiskFileSystem::create(const std::filesystem::path& path) {
  if (is_taken(path) && ::unlink(path.c_str()) != 0) fail("replace", path, last_error());
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (fd < 0) fail("create", path, last_error());
  ::close(fd);
  return std::make_unique<DiskFile>(path);
}

void DiskFileSystem::make_folder(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) fail("make folder", path, error);
}

void DiskFileSystem::make_new_folder(const std::filesystem::path& path) {
  if (::mkdir(path.c_str(), 0777) != 0) fail("make folder", path, last_error());
}

void DiskFileSystem::rename(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::error_code error;
  std::filesystem::rename(from, to, error);
  if (error) fail("rename to", to, error);
}

void DiskFileSystem::remove(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::remove(path, error);
  if (error) fail("remove", path, error);
}

void DiskFileSystem::sync_folder(const std::filesystem::path& path) { ringtron::sync_folder(path); }

void sweep(FileSystem& files, const std::filesystem::path& path, const std::filesystem::path& first) {
  struct stat parent{};
  const auto above = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  if (::stat(above.c_str(), &parent) != 0) {
    if (errno == ENOENT) return;
    fail("look at", above, last_error());
  }
  sweep_on_device(files, path, first, parent.st_dev);
}

bool is_taken(const std::filesystem::path& path) {
  struct stat info{};
  return ::lstat(path.c_str(), &info) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

std::string why_immovable(const std::filesystem::path& path) {
  struct statx info{};
  if (::statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &info) != 0) return "";
  const auto attributes = info.stx_attributes & info.stx_attributes_mask;
  if ((attributes & STATX_ATTR_MOUNT_ROOT) != 0) return "something is mounted there";
  if ((attributes & STATX_ATTR_IMMUTABLE) != 0) return "it is immutable, chattr +i";
  if ((attributes & STATX_ATTR_APPEND) != 0) return "it may only be appended to, chattr +a";
  return "";
}

bool is_real_folder(const std::filesystem::path& path) {
  struct stat info{};
  return ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

}  // namespace ringtron

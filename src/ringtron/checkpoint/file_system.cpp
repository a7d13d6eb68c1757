#include "ringtron/checkpoint/file_system.h"

#include <fmt/format.h>

#include <algorithm>
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

}  // namespace

std::unique_ptr<WritableFile> DiskFileSystem::create(const std::filesystem::path& path) {
  return std::make_unique<DiskFile>(path);
}

void DiskFileSystem::make_folder(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) fail("make folder", path, error);
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

void DiskFileSystem::sync_folder(const std::filesystem::path& path) {
  ringtron::sync_folder(path);
}

void remove_folder(FileSystem& files, const std::filesystem::path& folder,
                   const std::filesystem::path& first) {
  std::error_code error;
  std::vector<std::filesystem::path> entries;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    entries.push_back(entry->path());
  }
  if (error == std::errc::no_such_file_or_directory) return;
  if (error) fail("list folder", folder, error);
  // In a fixed order, so that a crash between any two removals can be repeated.
  std::sort(entries.begin(), entries.end(), [&](const auto& a, const auto& b) {
    const bool a_first = a.filename() == first, b_first = b.filename() == first;
    return a_first != b_first ? a_first : a < b;
  });
  for (const auto& entry : entries) files.remove(entry);
  files.remove(folder);
}

}  // namespace ringtron

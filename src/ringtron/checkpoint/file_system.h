// The file operations that change a checkpoint folder, as a seam: the product uses the disk, tests count the
// operations, fail them, or end the process between two of them.
//
// All functions throw IoError with the path and the system's reason. Paths are passed to the system as they
// are.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

namespace ringtron {

// A file that is being written. The destructor closes it without reporting errors.
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  virtual void write(std::span<const std::byte> bytes) = 0;
  virtual void sync() = 0;  // to the disk itself
  virtual void close() = 0;
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual std::unique_ptr<WritableFile> create(const std::filesystem::path& path) = 0;  // or truncates
  virtual void make_folder(const std::filesystem::path& path) = 0;  // one that is there is fine
  virtual void rename(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
  virtual void remove(const std::filesystem::path& path) = 0;  // a file or an empty folder; fine if absent
  virtual void sync_folder(const std::filesystem::path& path) = 0;
};

// The real one. Has no state; may be shared between threads.
class DiskFileSystem final : public FileSystem {
 public:
  std::unique_ptr<WritableFile> create(const std::filesystem::path& path) override;
  void make_folder(const std::filesystem::path& path) override;
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  void remove(const std::filesystem::path& path) override;
  void sync_folder(const std::filesystem::path& path) override;
};

// Removes a folder of files: `first` in it before everything else. Fine if the folder is absent.
void remove_folder(FileSystem& files, const std::filesystem::path& folder,
                   const std::filesystem::path& first);

}  // namespace ringtron

// The file operations that change a checkpoint folder, as a seam: the product uses the disk, tests count the
// operations, fail them, or end the process between two of them.
//
// All functions throw IoError with the path and the system's reason. Paths are passed to the system as they
// are; a link under the last name of a path is never followed, so nothing outside the folder is touched.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

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
  // A new file. One that stands there, or a link, goes first; a folder there is an error.
  virtual std::unique_ptr<WritableFile> create(const std::filesystem::path& path) = 0;
  virtual void make_folder(const std::filesystem::path& path) = 0;      // one that is there is fine
  virtual void make_new_folder(const std::filesystem::path& path) = 0;  // anything there is an error
  virtual void rename(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
  virtual void remove(const std::filesystem::path& path) = 0;  // a file or an empty folder; fine if absent
  virtual void sync_folder(const std::filesystem::path& path) = 0;
};

// The real one. Has no state; may be shared between threads.
class DiskFileSystem final : public FileSystem {
 public:
  std::unique_ptr<WritableFile> create(const std::filesystem::path& path) override;
  void make_folder(const std::filesystem::path& path) override;
  void make_new_folder(const std::filesystem::path& path) override;
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  void remove(const std::filesystem::path& path) override;
  void sync_folder(const std::filesystem::path& path) override;
};

// Removes what stands at `path`: a file or a link itself, a folder with all that is in it, `first` before everything
// else. Follows no link and leaves alone what is mounted there (IoError). Fine if nothing is there.
void sweep(FileSystem& files, const std::filesystem::path& path, const std::filesystem::path& first);

// Whether anything has this name, a link that leads nowhere too. Never throws: what cannot be looked at is there.
bool is_taken(const std::filesystem::path& path);
// Whether it is a folder itself, not a link to one.
bool is_real_folder(const std::filesystem::path& path);

// Why not even the owner of the folder around it can move this, as far as the system tells: a mount point, an immutable
// file. Empty if nothing is known against it, or nothing is there.
std::string why_immovable(const std::filesystem::path& path);

}  // namespace ringtron

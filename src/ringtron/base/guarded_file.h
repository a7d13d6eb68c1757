// A file mapped read-only that may be cut off, or whose disk may fail, while it is read.
//
// Reading a page that is gone raises SIGBUS, which would end the process without a word. Here the missing bytes read as
// zeros, and require_whole() says so afterwards: read, require, use. A file that was deleted or replaced under its name
// is still whole, the mapping keeps the old one.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace ringtron {

namespace internal {
struct GuardedRegion;
}

class GuardedFile {
 public:
  // Throws IoError where the file cannot be opened, or is a folder, a pipe or a device. The first one in a process
  // installs the handler of SIGBUS, which hands on what is not a guarded file's.
  explicit GuardedFile(std::filesystem::path path);
  ~GuardedFile();
  GuardedFile(GuardedFile&& other) noexcept;
  GuardedFile& operator=(GuardedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

  // Throws IoError if a read so far met missing bytes, or if the file is shorter than when it was opened. Thread-safe.
  void require_whole() const;

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  unsigned long long device_ = 0, inode_ = 0;
  internal::GuardedRegion* region_ = nullptr;
};

// "a folder", "a named pipe", "a device", ...: what lies at `path` if it is there and not a file; else empty.
const char* not_a_file(const std::filesystem::path& path);

// "A is a symbolic link to B, which does not exist" where that is so of `path` or of a folder on the way to it; else
// empty.
std::string dangling_link(const std::filesystem::path& path);

}  // namespace ringtron

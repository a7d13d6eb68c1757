// Files: whole reads, and writes that either happen completely or not at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace ringtron {

// The whole file. Throws IoError with the path and the system's reason.
std::string read_file(const std::filesystem::path& path);

// Writes aside, syncs, renames over `path` and syncs the folder: a reader sees the old file or the new one, never a
// part, also after a power cut. Throws IoError; then `path` is as it was.
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

// An append-only file that is written in large pieces and closed explicitly. Throws IoError (disk full included), with
// the path, the offset and what to do.
class OutputFile {
 public:
  explicit OutputFile(std::filesystem::path path);  // creates or truncates
  ~OutputFile();                                    // closes; does not report errors, call close() for that
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  void sync();   // to the disk itself
  void close();  // flushes; throws if that fails
  std::size_t size() const { return written_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  std::size_t written_ = 0;
};

// Makes a rename or a new entry inside `folder` durable.
void sync_folder(const std::filesystem::path& folder);

// A file mapped read-only for as long as the object lives. An empty file gives an empty span.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // `part` of bytes() takes no memory of this process until it is looked at again.
  void release(std::span<const std::byte> part) const;

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace ringtron

// A file that appears under its name whole or not at all, and that one process at a time may write.
//
//   PendingFile file("out/vocab.json");   // makes out/vocab.json.ringtron-partial, locked
//   file.write(...);
//   file.publish();                       // synced, then renamed: a reader sees the old file or the new one
//
// Without publish() the destructor removes what was written. A process that is killed leaves NAME.ringtron-partial
// behind; it is not locked any more, so the next writer of NAME takes it over. Only ever touches NAME and
// NAME.ringtron-partial, and of these only regular files. Not thread-safe.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace ringtron {

class PendingFile {
 public:
  // Throws ConfigError where the name cannot be written at all: its folder is missing, forbidden or no folder, the name
  // is that of a folder, something that is no file stands at NAME.ringtron-partial, or another process is writing it
  // now.
  explicit PendingFile(std::filesystem::path path);
  ~PendingFile();
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;

  // Throw IoError (full disk included) with the system's reason.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  void publish();

 private:
  std::filesystem::path path_, partial_;
  int fd_ = -1;
};

}  // namespace ringtron

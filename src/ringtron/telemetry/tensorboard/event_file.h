// One event file on disk that only ever holds whole records. Internal to telemetry/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace ringtron {

// No function throws: each gives 0, or the system's error number.
class EventFile {
 public:
  EventFile() = default;
  ~EventFile() { close(); }
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  // Makes the folder if it is absent, and a new file in it whose name sorts behind those of all event files there:
  // events.out.tfevents.<seconds>.<host>.<pid>.<n>. It is locked as long as it is open.
  int create(const std::filesystem::path& folder);

  // All of `records`, or nothing: what was written of them before an error is taken back. Where that fails too, the
  // file is closed.
  int append(std::string_view records);

  bool is_open() const { return fd_ >= 0; }
  // Whether the path still leads to this file: it may have been deleted or replaced since.
  bool is_in_place() const;
  void close();
  // Closes it and deletes it.
  void discard();

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  std::int64_t size_ = 0;
};

// Whether some EventFile, of this process or another, has this file open.
bool is_written(const std::filesystem::path& file);

}  // namespace ringtron

// A file system that fails or ends the process at one chosen operation, and counts operations for sweeps over
// all of them. Threads may share it; the operation that is chosen is then the k-th of all of theirs.
#pragma once

#include <filesystem>
#include <mutex>
#include <set>

#include "ringtron/checkpoint/file_system.h"

namespace ringtron::testing {

enum class Fault {
  none,
  crash,      // exits the process; files that were not synced lose their second half, as after a power cut
  io_error,   // throws IoError, once; a write leaves half of its bytes
  disk_full,  // throws IoError from then on, at all that needs space; removing works
};

class FaultyFileSystem final : public FileSystem {
 public:
  static constexpr int kCrashExitCode = 42;

  // The fault strikes at operation number `at` (from 1), in the place of that operation.
  explicit FaultyFileSystem(Fault fault = Fault::none, int at = 0) : fault_(fault), at_(at) {}

  // Of threads that have ended.
  int operations() const { return operations_; }

  std::unique_ptr<WritableFile> create(const std::filesystem::path& path) override;
  void make_folder(const std::filesystem::path& path) override;
  void make_new_folder(const std::filesystem::path& path) override;
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  void remove(const std::filesystem::path& path) override;
  void sync_folder(const std::filesystem::path& path) override;

 private:
  class File;
  void strike_if_due();

  Fault fault_;
  int at_;
  std::mutex mutex_;  // of the two below
  int operations_ = 0;
  std::set<std::filesystem::path> unsynced_;
  DiskFileSystem disk_;
};

}  // namespace ringtron::testing

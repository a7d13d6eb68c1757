// At most one run writes into a save folder.
#pragma once

#include <filesystem>

namespace ringtron {

// Held by the publishing rank from before its first save until the object goes or the process ends, however
// it ends. The folder is made if it is absent. Rests on flock(2): on a network file system without working
// locks it protects only against runs on the same machine.
class SaveLease {
 public:
  // Throws ConfigError that says who holds the folder, IoError if the lock file cannot be made.
  explicit SaveLease(std::filesystem::path save_folder);
  ~SaveLease();
  SaveLease(const SaveLease&) = delete;
  SaveLease& operator=(const SaveLease&) = delete;
  const std::filesystem::path& save_folder() const { return save_folder_; }

 private:
  std::filesystem::path save_folder_;
  int fd_ = -1;
};

}  // namespace ringtron

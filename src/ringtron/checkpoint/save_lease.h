// At most one run writes into a save folder.
#pragma once

#include <filesystem>

namespace ringtron {

// Held by the publishing rank from before its first save until the object goes or the process ends, however
// it ends. The folder is made if it is absent. Rests on flock(2) of the file .lease in it; where that name is taken by
// something that is no file (a link, a folder), on flock(2) of the folder itself, with a warning. On a network file
// system without working locks it protects only against runs on the same machine, or not at all, with a warning.
class SaveLease {
 public:
  // Throws ConfigError that says who holds the folder, IoError if the folder cannot be made or opened.
  explicit SaveLease(std::filesystem::path save_folder);
  ~SaveLease();
  SaveLease(const SaveLease&) = delete;
  SaveLease& operator=(const SaveLease&) = delete;
  const std::filesystem::path& save_folder() const { return save_folder_; }

  // False if someone has removed the lock file, or the folder, since: a second run would not notice this one. Take
  // another.
  bool is_held() const;

 private:
  void lock(const std::filesystem::path& path);

  std::filesystem::path save_folder_;
  int fd_ = -1;
  bool is_file_ = false;  // or the folder itself
};

}  // namespace ringtron

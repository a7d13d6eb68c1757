#include "tests/checkpoint/faulty_file_system.h"

#include <unistd.h>

#include <system_error>

#include "ringtron/base/error.h"

namespace ringtron::testing {

class FaultyFileSystem::File final : public WritableFile {
 public:
  File(FaultyFileSystem& owner, const std::filesystem::path& path)
      : owner_(owner), path_(path), file_(owner.disk_.create(path)) {
    const std::lock_guard lock(owner_.mutex_);
    owner_.unsynced_.insert(path_);
  }
  void write(std::span<const std::byte> bytes) override {
    file_->write(bytes.first(bytes.size() / 2));
    owner_.strike_if_due();
    file_->write(bytes.subspan(bytes.size() / 2));
  }
  void sync() override {
    owner_.strike_if_due();
    file_->sync();
    const std::lock_guard lock(owner_.mutex_);
    owner_.unsynced_.erase(path_);
  }
  void close() override {
    owner_.strike_if_due();
    file_->close();
  }

 private:
  FaultyFileSystem& owner_;
  std::filesystem::path path_;
  std::unique_ptr<WritableFile> file_;
};

void FaultyFileSystem::strike_if_due() {
  const std::lock_guard lock(mutex_);  // to the end of the process, if it ends here
  ++operations_;
  if (fault_ == Fault::disk_full && operations_ >= at_) throw IoError("injected: no space left on device");
  if (operations_ != at_ || fault_ == Fault::none) return;
  if (fault_ == Fault::io_error) throw IoError("injected: no space left on device");
  for (const auto& path : unsynced_) {
    std::error_code gone;  // removed or moved since
    const auto size = std::filesystem::file_size(path, gone);
    if (!gone) std::filesystem::resize_file(path, size / 2, gone);
  }
  ::_exit(kCrashExitCode);
}

std::unique_ptr<WritableFile> FaultyFileSystem::create(const std::filesystem::path& path) {
  strike_if_due();
  return std::make_unique<File>(*this, path);
}

void FaultyFileSystem::make_folder(const std::filesystem::path& path) {
  strike_if_due();
  disk_.make_folder(path);
}

void FaultyFileSystem::make_new_folder(const std::filesystem::path& path) {
  strike_if_due();
  disk_.make_new_folder(path);
}

void FaultyFileSystem::rename(const std::filesystem::path& from, const std::filesystem::path& to) {
  strike_if_due();
  disk_.rename(from, to);
  // A file that was renamed before it was synced is still at risk, under its new name (or inside its new
  // folder).
  const std::lock_guard lock(mutex_);
  std::set<std::filesystem::path> moved;
  for (const auto& path : unsynced_) {
    if (path == from) {
      moved.insert(to);
    } else {
      moved.insert(path.parent_path() == from ? to / path.filename() : path);
    }
  }
  unsynced_ = std::move(moved);
}

void FaultyFileSystem::remove(const std::filesystem::path& path) {
  if (fault_ != Fault::disk_full) strike_if_due();
  disk_.remove(path);
}

void FaultyFileSystem::sync_folder(const std::filesystem::path& path) {
  strike_if_due();
  disk_.sync_folder(path);
}

}  // namespace ringtron::testing

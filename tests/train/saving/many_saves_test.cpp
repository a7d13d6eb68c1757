// A thousand saves beside training: memory, threads and open files are what they were, and the copies of one save are
// all that a save needs on the host.
#include <gtest/gtest.h>
#include <malloc.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "ringtron/checkpoint/checkpoint_finder.h"
#include "ringtron/checkpoint/checkpoint_names.h"
#include "ringtron/train/checkpoint_saver.h"
#include "tests/support/allocation_peak.h"
#include "tests/train/toy_training.h"

namespace ringtron::testing {
namespace {

namespace fs = std::filesystem;

// The disk, but a sync does not wait: a thousand saves are a matter of seconds.
class UnsyncedFileSystem final : public FileSystem {
 public:
  std::unique_ptr<WritableFile> create(const fs::path& path) override {
    return std::make_unique<File>(disk_.create(path));
  }
  void make_folder(const fs::path& path) override { disk_.make_folder(path); }
  void make_new_folder(const fs::path& path) override { disk_.make_new_folder(path); }
  void rename(const fs::path& from, const fs::path& to) override { disk_.rename(from, to); }
  void remove(const fs::path& path) override { disk_.remove(path); }
  void sync_folder(const fs::path&) override {}

 private:
  class File final : public WritableFile {
   public:
    explicit File(std::unique_ptr<WritableFile> file) : file_(std::move(file)) {}
    void write(std::span<const std::byte> bytes) override { file_->write(bytes); }
    void sync() override {}
    void close() override { file_->close(); }

   private:
    std::unique_ptr<WritableFile> file_;
  };
  DiskFileSystem disk_;
};

std::int64_t entries_of(const char* folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

// What a process may collect.
struct Holdings {
  std::int64_t files = entries_of("/proc/self/fd");
  std::int64_t threads = entries_of("/proc/self/task");
  std::int64_t allocated = static_cast<std::int64_t>(::mallinfo2().uordblks + ::mallinfo2().hblkhd);  // bytes
  std::int64_t resident = [] {
    std::ifstream file("/proc/self/statm");
    std::int64_t pages = 0;
    file >> pages >> pages;
    return pages * 4096;
  }();
};

TEST(ManySaves, HoldNoMoreThanTheFirst) {
  TempDir dir;
  write_toy_corpus(dir / "corpus");
  const fs::path folder = dir / "save";
  ToyTraining run(
      toy_config({.micro_batch = 8}, dir / "corpus",
                 fmt::format("{} --bf16 --hidden-size 64 --save {} --save-interval 1 --save-retain-interval 1000000",
                             kLlamaLike, folder.string())));
  const auto loader = run.loader();
  run.parts().step().run(*loader);

  UnsyncedFileSystem files;
  CheckpointSaver saver(run.job(), files);
  const AllocationPeak tensors;
  const auto save = [&] {
    saver.begin(run.state());
    saver.finish();
    run.state().progress.iteration += 1;
  };
  std::int64_t staged = 0;
  Holdings before;
  constexpr int kWarmUp = 100, kSaves = 1000;
  for (int number = 1; number <= kWarmUp + kSaves; ++number) {
    if (number == 2) staged = tensors.current();
    if (number == kWarmUp + 1) before = {};
    save();
  }
  const Holdings after;
  const auto newest = find_newest_checkpoint(folder).newest.value().folder;
  const auto file_size = static_cast<std::int64_t>(fs::file_size(newest / "shard_00000.safetensors"));
  std::printf(
      "%d saves of %.2f MB: host copies %.2f MB; resident %+.2f MB, allocated %+.3f MB, files %+d, threads %+d\n",
      kSaves, file_size / 1e6, tensors.peak() / 1e6, (after.resident - before.resident) / 1e6,
      (after.allocated - before.allocated) / 1e6, static_cast<int>(after.files - before.files),
      static_cast<int>(after.threads - before.threads));
  EXPECT_EQ(list_iterations(folder).size(), 1u);  // each goes when the next is complete
  // The copies are made once; what the peak has more are the joined halves of the main weights, one tensor at a time.
  EXPECT_EQ(tensors.current(), staged);
  EXPECT_LE(staged, file_size + file_size / 20);
  EXPECT_LE(tensors.peak(), file_size + file_size / 4);
  EXPECT_EQ(after.files, before.files);
  EXPECT_EQ(after.threads, before.threads);
  EXPECT_LE(after.allocated - before.allocated, 100'000);  // 100 bytes a save
  EXPECT_LE(after.resident - before.resident, file_size);  // a copy a save would be a thousand times that
}

}  // namespace
}  // namespace ringtron::testing

// What a save meets in its folder: leftovers and foreign things under every name that it wants. It succeeds, and
// touches nothing outside.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <functional>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/checkpoint/checkpoint_finder.h"
#include "tests/checkpoint/faulty_file_system.h"
#include "tests/checkpoint/toy_state.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

using namespace testing;
namespace fs = std::filesystem;

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

// A save folder and, beside it, what is not the run's.
class Leftovers : public ::testing::Test {
 protected:
  Leftovers() {
    fs::create_directories(save());
    write(outside() / "manifest.json", "precious");
    write(outside() / "shard_00000.safetensors", "precious");
    write(outside() / "deep/thesis.txt", "precious");
  }
  fs::path save() const { return dir_ / "save"; }
  fs::path outside() const { return dir_ / "outside"; }

  void expect_save(std::int64_t iteration) {
    const auto state = toy_state(static_cast<std::uint64_t>(iteration));
    save_state(disk_, save(), iteration, state, 2);
    const auto search = find_newest_checkpoint(save());
    ASSERT_TRUE(search.newest);
    EXPECT_EQ(search.newest->iteration, iteration);
    CheckpointReader reader(search.newest->folder);
    reader.verify();
    EXPECT_TRUE(loads_equal(reader, state, 0, 1));
    EXPECT_EQ(read_file(outside() / "manifest.json"), "precious");
    EXPECT_EQ(read_file(outside() / "shard_00000.safetensors"), "precious");
    EXPECT_EQ(read_file(outside() / "deep/thesis.txt"), "precious");
  }

  TempDir dir_;
  DiskFileSystem disk_;
};

// A link, a link that leads nowhere, a file, an empty folder, a folder with folders in it, a FIFO: under each name.
TEST_F(Leftovers, AnythingUnderAnyNameOfASave) {
  const std::vector<std::function<void(const fs::path&)>> makers = {
      [&](const fs::path& p) { fs::create_directory_symlink(outside(), p); },
      [&](const fs::path& p) { fs::create_symlink(outside() / "manifest.json", p); },
      [&](const fs::path& p) { fs::create_symlink(dir_ / "nowhere", p); },
      [&](const fs::path& p) { write(p, "left over"); },
      [&](const fs::path& p) { fs::create_directory(p); },
      [&](const fs::path& p) { write(p / "sub/sub/file", "left over"); },
      [&](const fs::path& p) { ASSERT_EQ(::mkfifo(p.c_str(), 0600), 0); },
  };
  for (const char* name : {"iter_0000004", ".iter_0000004.partial", ".iter_0000003.partial", ".iter_0000004.replaced",
                           ".iter_0000003.replaced", ".lease", "latest_checkpointed_iteration.txt",
                           ".latest_checkpointed_iteration.txt.tmp"}) {
    for (std::size_t i = 0; i < makers.size(); ++i) {
      SCOPED_TRACE(std::string(name) + ", kind " + std::to_string(i));
      fs::remove_all(save());
      fs::create_directories(save());
      makers[i](save() / name);
      expect_save(4);
      expect_save(5);
      EXPECT_FALSE(fs::exists(dir_ / "nowhere"));
    }
  }
}

TEST_F(Leftovers, LinksInsideAPartialFolderAreNotFollowed) {
  fs::create_directories(save() / ".iter_0000004.partial");
  fs::create_symlink(outside() / "manifest.json", save() / ".iter_0000004.partial/manifest.json");
  fs::create_directory_symlink(outside(), save() / ".iter_0000004.partial/deep");
  expect_save(4);
  EXPECT_FALSE(fs::exists(save() / ".iter_0000004.partial"));
}

// Megatron-LM's folders have our names.
TEST_F(Leftovers, WhatIsNoCheckpointOfOursIsKept) {
  write(save() / "iter_0000004/mp_rank_00/model_optim_rng.pt", "months of work");
  expect_save(4);
  EXPECT_EQ(read_file(save() / "iter_0000004.set_aside/mp_rank_00/model_optim_rng.pt"), "months of work");
  expect_save(4);  // our own, replaced as ever
  EXPECT_FALSE(fs::exists(save() / "iter_0000004.set_aside_1"));
  fs::remove_all(save() / "iter_0000004");
  write(save() / "iter_0000004", "a second one");
  expect_save(4);
  EXPECT_EQ(read_file(save() / "iter_0000004.set_aside_1"), "a second one");
}

TEST_F(Leftovers, ACheckpointMovedAwayBehindALinkStaysThere) {
  expect_save(4);
  fs::rename(save() / "iter_0000004", dir_ / "archive");
  fs::create_directory_symlink(dir_ / "archive", save() / "iter_0000004");
  expect_save(4);
  EXPECT_TRUE(is_real_folder(save() / "iter_0000004"));
  EXPECT_FALSE(checkpoint_problem(dir_ / "archive"));
}

// Refuses to remove what is in one folder, as a file system does that is mounted read-only there.
class StubbornFileSystem final : public FileSystem {
 public:
  explicit StubbornFileSystem(fs::path stuck) : stuck_(std::move(stuck)) {}
  std::unique_ptr<WritableFile> create(const fs::path& path) override { return disk_.create(path); }
  void make_folder(const fs::path& path) override { disk_.make_folder(path); }
  void make_new_folder(const fs::path& path) override { disk_.make_new_folder(path); }
  void rename(const fs::path& from, const fs::path& to) override { disk_.rename(from, to); }
  void remove(const fs::path& path) override {
    if (path.parent_path() == stuck_) throw IoError("injected: read-only file system");
    disk_.remove(path);
  }
  void sync_folder(const fs::path& path) override { disk_.sync_folder(path); }

 private:
  fs::path stuck_;
  DiskFileSystem disk_;
};

TEST_F(Leftovers, WhatCannotBeSweptIsSteppedAround) {
  write(save() / ".iter_0000004.partial/shard_00000.safetensors", "left over");
  StubbornFileSystem files(save() / ".iter_0000004.partial");
  for (int again = 0; again < 2; ++again) {
    save_state(files, save(), 4, toy_state(1), 2);
    EXPECT_FALSE(checkpoint_problem(save() / "iter_0000004"));
    EXPECT_EQ(read_file(save() / ".iter_0000004.partial/shard_00000.safetensors"), "left over");
    EXPECT_FALSE(fs::exists(save() / ".iter_0000004.1.partial"));
  }
}

// Lets nobody move one thing, as where something is mounted.
class MountedFileSystem final : public FileSystem {
 public:
  explicit MountedFileSystem(fs::path stuck) : stuck_(std::move(stuck)) {}
  std::unique_ptr<WritableFile> create(const fs::path& path) override { return disk_.create(path); }
  void make_folder(const fs::path& path) override { disk_.make_folder(path); }
  void make_new_folder(const fs::path& path) override { disk_.make_new_folder(path); }
  void rename(const fs::path& from, const fs::path& to) override {
    if (from == stuck_ || to == stuck_) throw IoError("injected: device or resource busy");
    disk_.rename(from, to);
  }
  void remove(const fs::path& path) override {
    if (path == stuck_) throw IoError("injected: device or resource busy");
    disk_.remove(path);
  }
  void sync_folder(const fs::path& path) override { disk_.sync_folder(path); }

 private:
  fs::path stuck_;
  DiskFileSystem disk_;
};

TEST_F(Leftovers, WhatCannotBeMovedIsSteppedAroundAndTheLoadFindsTheSave) {
  for (const bool ours : {false, true}) {
    SCOPED_TRACE(ours);
    fs::remove_all(save());
    fs::create_directories(save());
    expect_save(3);
    if (ours) {
      expect_save(4);
    } else {
      write(save() / "iter_0000004/sub/file", "precious");
    }
    MountedFileSystem files(save() / "iter_0000004");
    for (const char* name : {"iter_0000004.beside", "iter_0000004.beside_1", "iter_0000004.beside"}) {
      const auto state = toy_state(static_cast<std::uint64_t>(name[19] == '_' ? 77 : 78));
      save_state(files, save(), 4, state, 2);
      const auto search = find_newest_checkpoint(save());
      ASSERT_TRUE(search.newest);
      EXPECT_EQ(search.newest->folder, save() / name);
      EXPECT_TRUE(search.damaged.empty());
      EXPECT_EQ(find_checkpoint_of(save(), 4).folder, save() / name);
      CheckpointReader reader(search.newest->folder);
      EXPECT_TRUE(loads_equal(reader, state, 0, 1));
    }
    EXPECT_FALSE(fs::exists(save() / "iter_0000004.beside_1"));  // one copy beside is enough
    if (!ours) {
      EXPECT_EQ(read_file(save() / "iter_0000004/sub/file"), "precious");
    }
    expect_save(4);  // it can be moved again: the plain name, and nothing beside
    EXPECT_EQ(find_newest_checkpoint(save()).newest->folder, save() / "iter_0000004");
    EXPECT_FALSE(fs::exists(save() / "iter_0000004.beside"));
  }
}

TEST_F(Leftovers, ADamagedOldCopyWithoutAnotherIsKept) {
  expect_save(3);
  fs::rename(save() / "iter_0000003", save() / ".iter_0000003.replaced");
  fs::resize_file(save() / ".iter_0000003.replaced/shard_00000.safetensors", 9);
  expect_save(4);
  EXPECT_TRUE(fs::exists(save() / ".iter_0000003.replaced/manifest.json"));
}

TEST_F(Leftovers, TheLeaseRefusesASecondRunUnderEveryName) {
  {
    const SaveLease first(save());
    EXPECT_THROW(SaveLease second(save()), ConfigError);
  }
  fs::remove(save() / ".lease");
  fs::create_symlink(outside() / "manifest.json", save() / ".lease");
  {
    const SaveLease first(save());
    EXPECT_THROW(SaveLease second(save()), ConfigError);
  }
  EXPECT_EQ(read_file(outside() / "manifest.json"), "precious");
  fs::remove(save() / ".lease");
  fs::create_hard_link(outside() / "manifest.json", save() / ".lease");
  const SaveLease third(save());
  EXPECT_EQ(read_file(outside() / "manifest.json"), "precious");
}

TEST_F(Leftovers, ALeaseWhoseFileIsGoneIsNotHeld) {
  const SaveLease first(save());
  EXPECT_TRUE(first.is_held());
  fs::remove(save() / ".lease");
  EXPECT_FALSE(first.is_held());
  {
    const SaveLease again(save());
    EXPECT_TRUE(again.is_held());
    EXPECT_FALSE(first.is_held());  // another file by now
  }
  fs::remove_all(save());
  EXPECT_TRUE(SaveLease(save()).is_held());
}

// From any operation on nothing can be written: the save fails, what was there stays, and its leftovers go.
TEST_F(Leftovers, AFullDiskLeavesWhatWasThere) {
  FaultyFileSystem counting;
  expect_save(3);
  save_state(counting, save(), 4, toy_state(4), 2);
  for (int k = 1; k <= counting.operations(); k += 3) {
    fs::remove_all(save() / "iter_0000004");
    FaultyFileSystem full(Fault::disk_full, k);
    try {
      save_state(full, save(), 4, toy_state(4), 2);
    } catch (const IoError&) {
    }
    EXPECT_FALSE(checkpoint_problem(save() / "iter_0000003"));
    for (const auto& entry : fs::directory_iterator(save())) {
      EXPECT_FALSE(entry.path().filename().string().starts_with(".iter_")) << entry.path() << " at " << k;
    }
    expect_save(4);
  }
}

}  // namespace
}  // namespace ringtron

#include "ringtron/checkpoint/checkpoint_finder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/base/hash.h"
#include "tests/checkpoint/toy_state.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Finder : public ::testing::Test {
 protected:
  void save(std::int64_t iteration) { save_state(disk_, dir_.path(), iteration, toy_state(1), 2); }

  TempDir dir_;
  DiskFileSystem disk_;
};

TEST_F(Finder, EmptyAndAbsentFoldersHoldNone) {
  EXPECT_FALSE(find_newest_checkpoint(dir_.path()).newest);
  EXPECT_FALSE(find_newest_checkpoint(dir_ / "absent").newest);
}

TEST_F(Finder, IgnoresThePointerAndStrangers) {
  save(10);
  save(200);
  for (const char* pointer : {"10", "release", "garbage\n", ""}) {
    write_file_atomically(dir_ / "latest_checkpointed_iteration.txt", pointer);
    EXPECT_EQ(find_newest_checkpoint(dir_.path()).newest->iteration, 200);
  }
  std::filesystem::remove(dir_ / "latest_checkpointed_iteration.txt");
  for (const char* name : {"iter_x", "iter_", "iter_-5", ".iter_0000900.partial", "tensorboard"}) {
    std::filesystem::create_directory(dir_ / name);
  }
  EXPECT_THAT(list_iterations(dir_.path()), ElementsAre(10, 200));
  EXPECT_EQ(find_newest_checkpoint(dir_.path()).newest->iteration, 200);
}

// A program that is older than what has saved here last goes on from nothing, and saves nothing over it.
TEST_F(Finder, ACheckpointOfANewerVersionStopsTheSearch) {
  save(10);
  save(20);
  const auto path = dir_ / "iter_0000020" / kManifestName;
  std::string text = read_file(path);
  const std::size_t at = text.find("\"version\": ") + 11;
  text[at] = '9';
  const std::string body = text.substr(0, text.rfind(",\n"));
  write_file_atomically(path, body + ",\n \"xxh3\": \"" + hex64(hash64(body)) + "\"\n}\n");
  const auto message_of = [](auto&& action) -> std::string {
    try {
      action();
    } catch (const IoError& e) {
      return e.what();
    }
    return "";
  };
  const auto newer = ::testing::AllOf(HasSubstr(path.string()), HasSubstr("version: ringtron-checkpoint 9 is newer"));
  EXPECT_THAT(message_of([&] { find_newest_checkpoint(dir_.path()); }), newer);
  EXPECT_THAT(message_of([&] { find_checkpoint_of(dir_.path(), 20); }), newer);
  EXPECT_THAT(message_of([&] { next_save_number(dir_.path()); }), newer);
  EXPECT_EQ(find_checkpoint_of(dir_.path(), 10).iteration, 10);
  EXPECT_THAT(message_of([&] { save_state(disk_, dir_.path(), 20, toy_state(2), 2); }), newer);
  EXPECT_EQ(read_file(path).substr(0, body.size()), body);
}

TEST_F(Finder, DamagedNewestIsReportedAndThePreviousFound) {
  save(10);
  save(20);
  std::filesystem::remove(dir_ / "iter_0000020/shard_00001.safetensors");
  const auto search = find_newest_checkpoint(dir_.path());
  EXPECT_EQ(search.newest->iteration, 10);
  ASSERT_EQ(search.damaged.size(), 1u);
  EXPECT_THAT(search.damaged[0].problem, HasSubstr("iter_0000020/shard_00001.safetensors"));
  EXPECT_THAT(fallback_advice(dir_.path(), 20), HasSubstr("--ckpt-step 10"));
  EXPECT_THAT(fallback_advice(dir_.path(), 10), HasSubstr("no older complete"));
}

TEST_F(Finder, ChosenStep) {
  save(10);
  save(20);
  EXPECT_EQ(find_checkpoint_of(dir_.path(), 10).folder, dir_ / "iter_0000010");
  try {
    find_checkpoint_of(dir_.path(), 15);
    FAIL() << "no error";
  } catch (const ConfigError& e) {
    EXPECT_THAT(e.what(), HasSubstr("[10, 20]"));
  }
  std::filesystem::resize_file(dir_ / "iter_0000020/shard_00000.safetensors", 100);
  try {
    find_checkpoint_of(dir_.path(), 20);
    FAIL() << "no error";
  } catch (const IoError& e) {
    EXPECT_THAT(e.what(), HasSubstr("shard_00000.safetensors"));
    EXPECT_THAT(e.what(), HasSubstr("--ckpt-step 10"));
  }
}

TEST_F(Finder, ReplacedCopyCountsUntilItsSuccessorIsThere) {
  save(10);
  std::filesystem::rename(dir_ / "iter_0000010", dir_ / ".iter_0000010.replaced");
  EXPECT_EQ(find_newest_checkpoint(dir_.path()).newest->iteration, 10);
  save(20);  // puts the old one back on its way
  EXPECT_THAT(checkpoint_problem(dir_ / "iter_0000010").value_or(""), IsEmpty());
}

TEST_F(Finder, SecondWriterIsRefusedWhileTheFirstLives) {
  {
    const SaveLease first(dir_.path());
    try {
      const SaveLease second(dir_.path());
      FAIL() << "no error";
    } catch (const ConfigError& e) {
      EXPECT_THAT(e.what(), HasSubstr("another run"));
      EXPECT_THAT(e.what(), HasSubstr(std::to_string(::getpid())));
    }
  }
  EXPECT_NO_THROW(SaveLease(dir_.path()));
}

}  // namespace
}  // namespace ringtron

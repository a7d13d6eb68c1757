// When saves come, also after failures; what is said about space before the first.
#include "ringtron/train/save_schedule.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/checkpoint/file_system.h"
#include "ringtron/train/start_up/output_folders.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

// The iterations at which a run to `last` tries to save, if tries fail until `mended`.
std::vector<std::int64_t> tries(std::int64_t interval, std::int64_t first, std::int64_t last, std::int64_t mended) {
  SaveSchedule schedule(interval, first);
  std::vector<std::int64_t> out;
  for (std::int64_t i = first + 1; i <= last; ++i) {
    if (!schedule.is_due(i)) continue;
    out.push_back(i);
    if (i < mended) {
      schedule.failed(i);
      EXPECT_GT(schedule.next_try(), i);
      EXPECT_LE(schedule.next_try(), i + interval);
      EXPECT_NE(schedule.remark().find("not saved since iteration: " + std::to_string(first)), std::string::npos);
    } else {
      schedule.saved(i);
      EXPECT_EQ(schedule.remark(), "");
      EXPECT_FALSE(schedule.is_unsaved(i));
    }
  }
  return out;
}

using Iterations = std::vector<std::int64_t>;

TEST(SaveSchedule, WithoutFailuresAtMultiplesOfTheInterval) {
  EXPECT_EQ(tries(10, 0, 35, 0), (Iterations{10, 20, 30}));
  EXPECT_EQ(tries(10, 13, 35, 0), (Iterations{20, 30}));
  EXPECT_EQ(tries(1, 5, 8, 0), (Iterations{6, 7, 8}));
}

TEST(SaveSchedule, AfterAFailureSoonerThanTheNextInterval) {
  EXPECT_EQ(tries(10, 0, 25, 11), (Iterations{10, 11, 20}));
  EXPECT_EQ(tries(10, 0, 35, 99), (Iterations{10, 11, 13, 17, 20, 30}));
  EXPECT_EQ(tries(100, 0, 210, 199), (Iterations{100, 101, 103, 107, 115, 131, 163, 200}));
  EXPECT_EQ(tries(1, 0, 4, 99), (Iterations{1, 2, 3, 4}));
}

TEST(SaveSchedule, WithoutSaveNothingIsDueOrUnsaved) {
  EXPECT_EQ(tries(0, 0, 20, 0), Iterations{});
  EXPECT_FALSE(SaveSchedule(0, 0).is_unsaved(7));
}

TEST(SaveSchedule, WhatWasLoadedIsNotUnsaved) {
  EXPECT_FALSE(SaveSchedule(10, 7).is_unsaved(7));
  EXPECT_TRUE(SaveSchedule(10, 7).is_unsaved(8));
}

TEST(SpaceWarnings, NameWhatIsNeededAndWhatIsThere) {
  const testing::TempDir dir;
  const auto free = std::filesystem::space(dir.path()).available;
  EXPECT_TRUE(space_warnings({dir.path(), 1000, 1000, 3}).empty());
  EXPECT_TRUE(space_warnings({dir.path(), free * 2, 0, 0}).empty());  // nothing will be saved
  const auto none = space_warnings({dir.path(), free * 2, 0, 3});
  ASSERT_EQ(none.size(), 1u);
  EXPECT_NE(none[0].find("no save will succeed"), std::string::npos) << none[0];
  const auto some = space_warnings({dir.path(), free / 4, 0, 100});
  ASSERT_EQ(some.size(), 1u);
  EXPECT_NE(some[0].find("of the 100 saves"), std::string::npos) << some[0];
  EXPECT_TRUE(space_warnings({dir.path(), free * 2, 0, 3, false}).empty());  // another rank tells
}

TEST(SpaceWarnings, KnowTheLimitOnFileSizes) {
  const testing::TempDir dir;
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = before;
  small.rlim_cur = 4096;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto lines = space_warnings({dir.path(), 5000, 5000, 1, false});
  EXPECT_TRUE(space_warnings({dir.path(), 5000, 4000, 1, false}).empty());
  ::setrlimit(RLIMIT_FSIZE, &before);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NE(lines[0].find("ulimit -f"), std::string::npos) << lines[0];
}

TEST(RequireWritable, MakesTheFolderAndLeavesNothing) {
  const testing::TempDir dir;
  require_writable("--save", dir / "a/b");
  EXPECT_TRUE(std::filesystem::is_empty(dir / "a/b"));
}

TEST(RequireWritable, NamesTheFlagOfAFolderThatCannotBe) {
  const testing::TempDir dir;
  {
    DiskFileSystem().create(dir / "file")->close();
  }
  for (const char* folder : {"file", "file/under", "/proc/nothing/here"}) {
    try {
      require_writable("--save", dir / folder);
      ADD_FAILURE() << folder;
    } catch (const IoError& e) {
      EXPECT_EQ(std::string(e.what()).find("--save: "), 0u) << e.what();
    }
  }
}

}  // namespace
}  // namespace ringtron

#include "ringtron/base/guarded_file.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

constexpr std::size_t kPage = 4096;

struct Guarded {
  testing::TempDir dir;
  std::filesystem::path path = dir / "data.bin";
  explicit Guarded(std::size_t bytes = 16 * kPage) { write_file_atomically(path, std::string(bytes, 'x')); }
};

std::string message_of(const GuardedFile& file) {
  try {
    file.require_whole();
  } catch (const IoError& error) {
    return error.what();
  }
  return "";
}

std::size_t count_x(const GuardedFile& file) {
  std::size_t count = 0;
  for (const std::byte b : file.bytes()) count += b == std::byte{'x'};
  return count;
}

TEST(GuardedFile, IsWholeAsLongAsNobodyTouchesIt) {
  const Guarded guarded;
  const GuardedFile file(guarded.path);
  EXPECT_EQ(count_x(file), 16 * kPage);
  EXPECT_EQ(message_of(file), "");
}

TEST(GuardedFile, CutOffBetweenReadsItNamesTheFile) {
  const Guarded guarded;
  const GuardedFile file(guarded.path);
  ASSERT_EQ(::truncate(guarded.path.c_str(), 3 * kPage), 0);
  EXPECT_EQ(count_x(file), 3 * kPage);  // no SIGBUS: zeros
  EXPECT_THAT(message_of(file), ::testing::HasSubstr(guarded.path.string()));
  // Grown again, it is still not what was opened.
  ASSERT_EQ(::truncate(guarded.path.c_str(), 16 * kPage), 0);
  EXPECT_NE(message_of(file), "");
}

TEST(GuardedFile, ACutInsideTheLastPageIsSeenToo) {
  const Guarded guarded(16 * kPage - 100);
  const GuardedFile file(guarded.path);
  ASSERT_EQ(::truncate(guarded.path.c_str(), 16 * kPage - 102), 0);
  EXPECT_THAT(message_of(file), ::testing::HasSubstr("was cut off"));
}

TEST(GuardedFile, CutOffToNothing) {
  const Guarded guarded;
  const GuardedFile file(guarded.path);
  ASSERT_EQ(::truncate(guarded.path.c_str(), 0), 0);
  EXPECT_EQ(count_x(file), 0u);
  EXPECT_NE(message_of(file), "");
}

TEST(GuardedFile, DeletedOrReplacedItStaysWhole) {
  const Guarded guarded;
  const GuardedFile file(guarded.path);
  write_file_atomically(guarded.path, "short");  // by a rename
  EXPECT_EQ(message_of(file), "");
  ASSERT_EQ(::unlink(guarded.path.c_str()), 0);
  EXPECT_EQ(count_x(file), 16 * kPage);
  EXPECT_EQ(message_of(file), "");
}

TEST(GuardedFile, OneOfSeveralAndSeveralThreads) {
  const Guarded cut, good;
  const GuardedFile file(cut.path), other(good.path);
  GuardedFile moved(cut.path);
  const GuardedFile taken(std::move(moved));
  ASSERT_EQ(::truncate(cut.path.c_str(), kPage), 0);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&] { EXPECT_EQ(count_x(file) + count_x(taken), 2 * kPage); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_NE(message_of(file), "");
  EXPECT_NE(message_of(taken), "");
  EXPECT_EQ(count_x(other), 16 * kPage);
  EXPECT_EQ(message_of(other), "");
  const GuardedFile again(good.path);  // a region that was used before does not remember
  EXPECT_EQ(message_of(again), "");
}

TEST(GuardedFile, AFaultElsewhereStillEndsTheProcess) {
  const Guarded guarded;
  EXPECT_EXIT(
      {
        const GuardedFile file(guarded.path);
        const MappedFile plain(guarded.path);
        if (::truncate(guarded.path.c_str(), 0) == 0) ::_exit(static_cast<int>(plain.bytes()[8 * kPage]));
      },
      ::testing::KilledBySignal(SIGBUS), "");
}

TEST(GuardedFile, RefusesWhatIsNoFileWithoutWaiting) {
  const testing::TempDir dir;
  ASSERT_EQ(::mkfifo((dir / "pipe").c_str(), 0600), 0);
  const std::vector<std::filesystem::path> none = {dir / "pipe", dir.path(), "/dev/zero", dir / "none"};
  for (const auto& path : none) {
    EXPECT_THROW(GuardedFile{path}, IoError) << path;
  }
  EXPECT_STREQ(not_a_file(dir / "pipe"), "a named pipe");
  EXPECT_STREQ(not_a_file(dir.path()), "a folder");
  EXPECT_STREQ(not_a_file("/dev/zero"), "a device");
  EXPECT_STREQ(not_a_file(dir / "none"), "");
}

}  // namespace
}  // namespace ringtron

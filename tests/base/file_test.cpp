#include "ringtron/base/file.h"

#include <gtest/gtest.h>

#include "ringtron/base/error.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

TEST(File, AtomicWriteReplacesAndLeavesNothingAside) {
  testing::TempDir dir;
  write_file_atomically(dir / "a", "one");
  write_file_atomically(dir / "a", "two");
  EXPECT_EQ(read_file(dir / "a"), "two");
  int entries = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(dir.path())) ++entries;
  EXPECT_EQ(entries, 1);
}

TEST(File, FullDiskKeepsTheOldFile) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full on this system";
  OutputFile full("/dev/full");
  EXPECT_THROW(full.write("x"), IoError);
}

TEST(File, MissingFileNamesThePath) {
  try {
    read_file("/nonexistent/thing");
    FAIL() << "no error";
  } catch (const IoError& e) {
    EXPECT_NE(std::string(e.what()).find("/nonexistent/thing"), std::string::npos);
  }
}

TEST(File, MapsContentAndEmptyFiles) {
  testing::TempDir dir;
  write_file_atomically(dir / "a", "hello");
  write_file_atomically(dir / "e", "");
  EXPECT_EQ(MappedFile(dir / "a").bytes().size(), 5u);
  EXPECT_TRUE(MappedFile(dir / "e").bytes().empty());
}

}  // namespace
}  // namespace ringtron

#include "ringtron/base/pending_file.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

using ::testing::HasSubstr;

class PendingFileTest : public ::testing::Test {
 protected:
  std::string error() {
    try {
      PendingFile file(path_);
    } catch (const ConfigError& e) {
      return e.what();
    }
    return "none";
  }

  testing::TempDir folder_;
  std::filesystem::path path_ = folder_ / "out", partial_ = folder_ / "out.ringtron-partial";
};

TEST_F(PendingFileTest, AppearsWholeOrNotAtAll) {
  write_file_atomically(path_, "old");
  {
    PendingFile file(path_);
    file.write("half");
  }
  EXPECT_EQ(read_file(path_), "old");
  EXPECT_FALSE(std::filesystem::exists(partial_));
  PendingFile file(path_);
  file.write("new");
  EXPECT_EQ(read_file(path_), "old");
  file.publish();
  EXPECT_EQ(read_file(path_), "new");
  EXPECT_FALSE(std::filesystem::exists(partial_));
}

TEST_F(PendingFileTest, OneWriterAtATime) {
  {
    PendingFile first(path_);
    EXPECT_THAT(error(), HasSubstr("another run is writing it"));
    EXPECT_TRUE(std::filesystem::exists(partial_));
  }
  EXPECT_EQ(error(), "none");
}

TEST_F(PendingFileTest, TakesOverWhatAKilledProcessLeft) {
  write_file_atomically(partial_, "left by a process that was killed");
  PendingFile file(path_);
  file.write("new");
  file.publish();
  EXPECT_EQ(read_file(path_), "new");
}

TEST_F(PendingFileTest, TouchesNothingElse) {
  write_file_atomically(folder_ / "theirs", "theirs");
  std::filesystem::create_symlink(folder_ / "theirs", partial_);
  EXPECT_THAT(error(), HasSubstr("stands in the way"));
  std::filesystem::remove(partial_);
  std::filesystem::create_hard_link(folder_ / "theirs", partial_);
  EXPECT_THAT(error(), HasSubstr("stands in the way"));
  EXPECT_EQ(read_file(folder_ / "theirs"), "theirs");
  std::filesystem::remove(partial_);
  ASSERT_EQ(::mkfifo(partial_.c_str(), 0600), 0);
  EXPECT_THAT(error(), HasSubstr("stands in the way"));
  std::filesystem::remove(partial_);
  std::filesystem::create_directory(partial_);
  EXPECT_THAT(error(), HasSubstr("stands in the way"));
}

TEST_F(PendingFileTest, NamesThatCannotBeWritten) {
  std::filesystem::create_directory(path_);
  EXPECT_THAT(error(), HasSubstr("it is a folder"));
  path_ = folder_ / "none" / "out";
  EXPECT_THAT(error(), HasSubstr("No such file"));
  path_ = "/dev/full";
  EXPECT_THAT(error(), HasSubstr("it is a device; expected a file"));
}

}  // namespace
}  // namespace ringtron

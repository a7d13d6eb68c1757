// How many ranks a machine lets a launcher start.
#include "ringtron/launch/process_limits.h"

#include <gmock/gmock.h>

#include <fstream>

#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

class Machine : public ::testing::Test {
 protected:
  void file(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((dir_ / path).parent_path());
    std::ofstream(dir_ / path) << text;
  }
  testing::TempDir dir_;
};

TEST_F(Machine, TheSmallestLimitIsNamed) {
  file("proc/sys/kernel/pid_max", "90\n");
  file("proc/sys/kernel/threads-max", "80\n");
  EXPECT_EQ(too_many_processes(1, dir_.path()), "");
  EXPECT_THAT(too_many_processes(81, dir_.path()), HasSubstr("kernel.threads-max) allows 80"));
  file("proc/self/cgroup", "8:pids:/job/step\n0::/\n");
  file("sys/fs/cgroup/pids/job/pids.max", "60\n");
  file("sys/fs/cgroup/pids/job/pids.current", "20\n");
  file("sys/fs/cgroup/pids/job/step/pids.max", "max\n");
  EXPECT_EQ(too_many_processes(40, dir_.path()), "");
  EXPECT_THAT(too_many_processes(41, dir_.path()), HasSubstr("(pids.max) allows 40"));
  file("proc/meminfo", "MemAvailable:   10240 kB\n");
  EXPECT_THAT(too_many_processes(11, dir_.path()), HasSubstr("memory, at 1 MB each, allows 10"));
}

TEST_F(Machine, TheNewerControlGroupsCountToo) {
  file("proc/self/cgroup", "0::/job\n");
  file("sys/fs/cgroup/job/pids.max", "5");
  EXPECT_THAT(too_many_processes(6, dir_.path()), HasSubstr("(pids.max) allows 5"));
}

TEST_F(Machine, WhereNobodySaysOnlyThisProcesssOwnLimitsCount) {
  EXPECT_THAT(too_many_processes(1'000'000'000, dir_.path()), AnyOf("", HasSubstr("ulimit")));
}

}  // namespace
}  // namespace ringtron

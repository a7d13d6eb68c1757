// What the files of a made-up /proc and /sys say.
#include "ringtron/base/machine_memory.h"

#include <gtest/gtest.h>

#include "ringtron/base/file.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

constexpr std::int64_t kMib = 1 << 20;

class MachineMemory : public ::testing::Test {
 protected:
  void file(const std::string& path, const std::string& content) {
    const std::filesystem::path whole = root_ / path;
    std::filesystem::create_directories(whole.parent_path());
    write_file_atomically(whole, content);
  }
  std::optional<std::int64_t> available() const { return memory_available(root_.path()); }

  testing::TempDir root_;
};

TEST_F(MachineMemory, IsNotKnownWithoutFiles) { EXPECT_EQ(available(), std::nullopt); }

TEST_F(MachineMemory, IsWhatCanBeFreedAndSwap) {
  file(
      "proc/meminfo",
      "MemTotal:  4194304 kB\nMemFree:  1024 kB\nMemAvailable:  2097152 kB\nHugePages_Total:  0\nSwapFree:  1024 kB\n");
  EXPECT_EQ(available(), 2049 * kMib);
}

TEST_F(MachineMemory, AContainersLimitCountsAndSoDoThoseAbove) {
  file("proc/meminfo", "MemAvailable:  2097152 kB\n");
  file("proc/self/cgroup", "0::/batch/job\n");
  file("sys/fs/cgroup/batch/job/memory.max", "max\n");
  EXPECT_EQ(available(), 2048 * kMib);
  file("sys/fs/cgroup/batch/memory.max", "1073741824\n");
  file("sys/fs/cgroup/batch/memory.current", "805306368\n");
  file("sys/fs/cgroup/batch/memory.stat", "anon 5\ninactive_file 104857600\nactive_file 7\n");
  EXPECT_EQ(available(), 356 * kMib);
  file("sys/fs/cgroup/batch/job/memory.max", "10485760\n");
  EXPECT_EQ(available(), 10 * kMib);
}

TEST_F(MachineMemory, OfTheOlderControlGroups) {
  file("proc/meminfo", "MemAvailable:  2097152 kB\n");
  file("proc/self/cgroup", "5:cpu:/x\n4:memory:/x\n0::/\n");
  file("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(available(), 2048 * kMib);
  file("sys/fs/cgroup/memory/memory.limit_in_bytes", "52428800\n");
  file("sys/fs/cgroup/memory/memory.usage_in_bytes", "62428800\n");
  EXPECT_EQ(available(), 0);
}

}  // namespace
}  // namespace ringtron

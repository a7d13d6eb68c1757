// Cores among ranks: shared, bound, limited by a control group, on several machines.
#include "ringtron/launch/core_share.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <numeric>
#include <optional>

#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

CoreClaim claim(int first, int count, const std::string& machine = "a", double quota = 0.0,
                const std::string& group = "g") {
  CoreClaim out{machine, std::vector<int>(static_cast<std::size_t>(count)), quota, group};
  std::iota(out.cores.begin(), out.cores.end(), first);
  return out;
}

std::vector<int> threads(const std::vector<CoreClaim>& ranks) {
  std::vector<int> out;
  for (std::size_t i = 0; i < ranks.size(); ++i) out.push_back(fair_threads(ranks, i));
  return out;
}

using Threads = std::vector<int>;

TEST(CoreShare, RanksThatShareAllCores) {
  EXPECT_EQ(threads({claim(0, 8)}), (Threads{8}));
  EXPECT_EQ(threads(std::vector(4, claim(0, 8))), (Threads{2, 2, 2, 2}));
  EXPECT_EQ(threads(std::vector(3, claim(0, 8))), (Threads{2, 2, 2}));
  EXPECT_EQ(threads(std::vector(8, claim(0, 2))), Threads(8, 1));
}

// srun has shared them out: nothing is divided twice.
TEST(CoreShare, BoundRanksKeepTheirCores) {
  EXPECT_EQ(threads({claim(0, 4), claim(4, 4)}), (Threads{4, 4}));
  EXPECT_EQ(threads({claim(0, 4), claim(0, 4), claim(4, 4), claim(4, 4)}), (Threads{2, 2, 2, 2}));  // by socket
  EXPECT_EQ(threads({claim(0, 8), claim(4, 4)}), (Threads{6, 2}));
}

TEST(CoreShare, OtherMachinesDoNotCount) {
  EXPECT_EQ(threads({claim(0, 4), claim(0, 4), claim(0, 4, "b")}), (Threads{2, 2, 4}));
}

TEST(CoreShare, AQuotaIsSharedByItsGroup) {
  EXPECT_EQ(threads(std::vector(2, claim(0, 64, "a", 8.0))), (Threads{4, 4}));
  EXPECT_EQ(threads({claim(0, 64, "a", 8.0, "g"), claim(0, 64, "a", 4.0, "h")}), (Threads{8, 4}));
  EXPECT_EQ(threads({claim(0, 64, "a", 0.5)}), (Threads{1}));
  EXPECT_EQ(usable_cores(claim(0, 64, "a", 2.5)), 2);
}

TEST(CoreShare, TextAndBack) {
  const CoreClaim own = own_core_claim();
  const CoreClaim back = parse_claim(claim_text(own));
  EXPECT_FALSE(own.cores.empty());
  EXPECT_EQ(back.machine, own.machine);
  EXPECT_EQ(back.cores, own.cores);
  EXPECT_EQ(back.group, own.group);
  EXPECT_NEAR(back.quota, own.quota, 1e-6);
}

TEST(CoreShare, WhoHasSetThreads) {
  const auto set = [](const char* wanted, const char* value) {
    return threads_are_set([=](const char* name) {
      return std::string(name) == wanted ? std::optional<std::string>(value) : std::nullopt;
    });
  };
  EXPECT_TRUE(set("OMP_NUM_THREADS", "3"));
  EXPECT_TRUE(set("MKL_NUM_THREADS", "3"));
  EXPECT_FALSE(set("OMP_NUM_THREADS", " "));
  EXPECT_FALSE(set("OTHER", "3"));
}

TEST(CoreShare, OddNumbersOfThreadsAreTold) {
  const auto odd = [](const char* wanted, const char* value) {
    return odd_thread_setting(
        [=](const char* name) {
          return std::string(name) == wanted ? std::optional<std::string>(value) : std::nullopt;
        },
        2);
  };
  for (const char* good : {"1", "2", " 2 ", "2,1", ""}) EXPECT_EQ(odd("OMP_NUM_THREADS", good), "") << good;
  for (const char* bad : {"0", "-1", "abc", "2.5", "2,", "99999999999"}) {
    EXPECT_NE(odd("OMP_NUM_THREADS", bad).find("expected a whole number of threads above 0"), std::string::npos) << bad;
  }
  EXPECT_EQ(odd("MKL_NUM_THREADS", "1000"),
            "MKL_NUM_THREADS=1000: there are 2 usable cores for it, so threads wait for each other");
}

class Quota : public ::testing::Test {
 protected:
  void file(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  CpuQuota read() const { return cpu_quota(root_.path()); }

 private:
  testing::TempDir root_;
};

TEST_F(Quota, Version2TakesTheTightestOfTheGroupAndThoseAround) {
  file("proc/self/cgroup", "0::/job/step\n");
  file("sys/fs/cgroup/job/cpu.max", "250000 100000\n");
  file("sys/fs/cgroup/job/step/cpu.max", "max 100000\n");
  EXPECT_DOUBLE_EQ(read().cores, 2.5);
  EXPECT_EQ(read().group, "job");
  file("sys/fs/cgroup/job/step/cpu.max", "100000 100000\n");
  EXPECT_DOUBLE_EQ(read().cores, 1.0);
}

TEST_F(Quota, Version1) {
  file("proc/self/cgroup", "4:memory:/m\n3:cpu,cpuacct:/docker/1\n");
  file("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "400000");  // the container's own root
  file("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000");
  EXPECT_DOUBLE_EQ(read().cores, 4.0);
  file("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1");
  EXPECT_DOUBLE_EQ(read().cores, 0.0);
}

TEST_F(Quota, NoneWhereNothingSaysSo) {
  EXPECT_DOUBLE_EQ(read().cores, 0.0);
  file("proc/self/cgroup", "garbage\n0::/\n");
  file("sys/fs/cgroup/cpu.max", "garbage");
  EXPECT_DOUBLE_EQ(read().cores, 0.0);
}

}  // namespace
}  // namespace ringtron

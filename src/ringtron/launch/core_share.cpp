#include "ringtron/launch/core_share.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>

#include "ringtron/base/check.h"
#include "ringtron/base/process.h"
#include "ringtron/base/text.h"

namespace ringtron {
namespace {

std::string content(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Cores' worth of time, or 0. "200000 100000" of version 2; the two files of version 1.
double quota_in(const std::filesystem::path& folder) {
  std::istringstream line(content(folder / "cpu.max"));
  double quota = 0.0, period = 0.0;
  if (!(line >> quota >> period)) {
    std::istringstream old_quota(content(folder / "cpu.cfs_quota_us")),
        old_period(content(folder / "cpu.cfs_period_us"));
    if (!(old_quota >> quota) || !(old_period >> period)) return 0.0;
  }
  return quota > 0.0 && period > 0.0 ? quota / period : 0.0;
}

// Where control groups with a limit on CPU time are mounted, and this process's group there.
std::vector<std::pair<std::filesystem::path, std::filesystem::path>> cpu_groups(const std::filesystem::path& root) {
  std::vector<std::pair<std::filesystem::path, std::filesystem::path>> out;
  const std::filesystem::path mount = root / "sys/fs/cgroup";
  for (const std::string& line : split(content(root / "proc/self/cgroup"), '\n')) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::filesystem::path group = std::filesystem::path(line.substr(second + 1)).relative_path();
    if (controllers.empty()) out.emplace_back(mount, group);
    const std::vector<std::string> names = split(controllers, ',');
    if (std::ranges::find(names, "cpu") != names.end()) {
      out.emplace_back(mount / controllers, group);
      out.emplace_back(mount / "cpu", group);
    }
  }
  return out;
}

std::vector<int> own_cores() {
  std::vector<int> cores;
  // The kernel refuses a set smaller than its own, which may exceed cpu_set_t's 1024.
  for (int size = CPU_SETSIZE; size <= (1 << 20); size *= 2) {
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> set(CPU_ALLOC(static_cast<std::size_t>(size)),
                                                               [](cpu_set_t* s) { CPU_FREE(s); });
    const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(size));
    CPU_ZERO_S(bytes, set.get());
    if (::sched_getaffinity(0, bytes, set.get()) != 0) continue;
    for (int core = 0; core < size; ++core) {
      if (CPU_ISSET_S(static_cast<std::size_t>(core), bytes, set.get())) cores.push_back(core);
    }
    return cores;
  }
  for (int core = 0; core < std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)); ++core) cores.push_back(core);
  return cores;
}

bool shares_core(const CoreClaim& claim, const std::string& machine, int core) {
  return claim.machine == machine && std::ranges::find(claim.cores, core) != claim.cores.end();
}

}  // namespace

CpuQuota cpu_quota(const std::filesystem::path& root) {
  CpuQuota best;
  for (const auto& [mount, group] : cpu_groups(root)) {
    // Its own folder and all above, up to the mount; in a container the path may be one that only the host knows.
    for (std::filesystem::path at = group;; at = at.parent_path()) {
      const double cores = quota_in(mount / at);
      if (cores > 0.0 && (best.cores == 0.0 || cores < best.cores)) best = {cores, at.string()};
      if (at.empty()) break;
    }
  }
  return best;
}

CoreClaim own_core_claim() {
  CoreClaim claim;
  const std::string boot(trim(content("/proc/sys/kernel/random/boot_id")));
  claim.machine = boot.empty() ? host_name() : boot;
  claim.cores = own_cores();
  const CpuQuota quota = cpu_quota("/");
  claim.quota = quota.cores;
  claim.group = host_name() + ":" + quota.group;  // containers of one machine call their groups alike
  return claim;
}

std::string claim_text(const CoreClaim& claim) {
  return fmt::format("{}\t{}\t{:.6f}\t{}", claim.machine, fmt::join(claim.cores, ","), claim.quota, claim.group);
}

CoreClaim parse_claim(const std::string& text) {
  const std::vector<std::string> parts = split(text, '\t');
  RT_CHECK_EQ(parts.size(), 4u, "parts of a rank's cores");
  CoreClaim claim{parts[0], {}, std::stod(parts[2]), parts[3]};
  for (const std::string& core : split(parts[1], ',')) {
    if (!core.empty()) claim.cores.push_back(std::stoi(core));
  }
  return claim;
}

int fair_threads(std::span<const CoreClaim> ranks, std::size_t self) {
  const CoreClaim& own = ranks[self];
  double share = 0.0;
  for (const int core : own.cores) {
    share += 1.0 / static_cast<double>(std::ranges::count_if(
                       ranks, [&](const CoreClaim& c) { return shares_core(c, own.machine, core); }));
  }
  if (own.quota > 0.0) {
    const auto sharers = std::ranges::count_if(
        ranks, [&](const CoreClaim& c) { return c.machine == own.machine && c.group == own.group && c.quota > 0.0; });
    share = std::min(share, own.quota / static_cast<double>(sharers));
  }
  return std::max(1, static_cast<int>(share + 1e-6));
}

int usable_cores(const CoreClaim& claim) { return fair_threads(std::span(&claim, 1), 0); }

std::string odd_thread_setting(const EnvironmentLookup& env, int cores) {
  for (const char* name : {"OMP_NUM_THREADS", "MKL_NUM_THREADS"}) {
    const auto value = env(name);
    if (!value || trim(*value).empty()) continue;
    // OpenMP takes a list as well, a number for each level of nested threads.
    for (const std::string& text : split(*value, ',')) {
      const std::string number(trim(text));
      const bool whole =
          !number.empty() && number.size() < 10 && number.find_first_not_of("0123456789") == std::string::npos;
      if (!whole || std::stoi(number) == 0) {
        return fmt::format("{}={}: expected a whole number of threads above 0", name, excerpt(*value));
      }
      if (std::stoi(number) > cores) {
        return fmt::format("{}={}: there {} {} usable {} for it, so threads wait for each other", name, excerpt(*value),
                           cores == 1 ? "is" : "are", cores, cores == 1 ? "core" : "cores");
      }
    }
  }
  return "";
}

bool threads_are_set(const EnvironmentLookup& env) {
  for (const char* name : {"OMP_NUM_THREADS", "MKL_NUM_THREADS"}) {
    if (const auto value = env(name); value && !trim(*value).empty()) return true;
  }
  return false;
}

}  // namespace ringtron

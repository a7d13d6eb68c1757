#include "ringtron/base/machine_memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace ringtron {
namespace {

using Bytes = std::optional<std::int64_t>;

Bytes least(Bytes a, Bytes b) {
  if (!a || !b) return a ? a : b;
  return std::min(*a, *b);
}

// MemAvailable + SwapFree.
Bytes of_machine(const std::filesystem::path& root) {
  std::ifstream file(root / "proc/meminfo");
  Bytes sum;
  std::string name, unit;
  for (std::int64_t value = 0; file >> name >> value; std::getline(file, unit)) {
    if (name == "MemAvailable:" || name == "SwapFree:") sum = sum.value_or(0) + value * 1024;
  }
  return sum;
}

// A number alone in a file; nothing for "max" or where there is no such file.
Bytes number_in(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::int64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;
}

Bytes left_of(const std::filesystem::path& folder, const char* limit, const char* used) {
  const Bytes most = number_in(folder / limit);
  if (!most) return std::nullopt;
  return std::max<std::int64_t>(*most - number_in(folder / used).value_or(0), 0);
}

// The limits of all groups from this process's own up. Caches count as used: less is told than there is, never more; so
// what of them can go is added.
Bytes of_control_groups(const std::filesystem::path& root) {
  std::ifstream file(root / "proc/self/cgroup");
  Bytes left;
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool unified = controllers.empty();
    if (!unified && controllers != "memory") continue;
    const std::filesystem::path top = root / (unified ? "sys/fs/cgroup" : "sys/fs/cgroup/memory");
    for (std::filesystem::path group = line.substr(second + 1); !group.empty(); group = group.parent_path()) {
      const std::filesystem::path folder = top / group.relative_path();
      Bytes here = unified ? left_of(folder, "memory.max", "memory.current")
                           : left_of(folder, "memory.limit_in_bytes", "memory.usage_in_bytes");
      if (here) {
        std::ifstream statistics(folder / "memory.stat");
        std::string name;
        for (std::int64_t value = 0; statistics >> name >> value;) {
          if (name == "inactive_file" || name == "total_inactive_file") {
            *here += value;
            break;
          }
        }
      }
      left = least(left, here);
      if (!group.has_relative_path()) break;
    }
  }
  return left;
}

// What `ulimit -v` leaves.
Bytes of_address_space(const std::filesystem::path& root) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  const std::int64_t pages = number_in(root / "proc/self/statm").value_or(0);
  return std::max<std::int64_t>(static_cast<std::int64_t>(limit.rlim_cur) - pages * ::sysconf(_SC_PAGESIZE), 0);
}

}  // namespace

std::optional<std::int64_t> memory_available(const std::filesystem::path& root) {
  return least(least(of_machine(root), of_control_groups(root)), of_address_space(root));
}

}  // namespace ringtron

#include "ringtron/launch/process_limits.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <optional>

#include "ringtron/base/error.h"
#include "ringtron/base/machine_memory.h"
#include "ringtron/launch/local_machine.h"

namespace ringtron {
namespace {

constexpr std::int64_t kOwnFiles = 16;  // of the launcher, beside the pipes
constexpr std::int64_t kLeastMemory = std::int64_t{1}
                                      << 20;  // of a process; a rank that trains takes a hundred times that

struct Limit {
  std::int64_t most = 0;
  std::string name;
};

// A number alone in a file; nothing for "max" or where there is no such file.
std::optional<std::int64_t> number_in(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::int64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;
}

class Least {
 public:
  void consider(std::optional<std::int64_t> most, const char* name) {
    if (most && (!least_ || *most < least_->most)) least_ = Limit{std::max<std::int64_t>(*most, 0), name};
  }
  const std::optional<Limit>& get() const { return least_; }

 private:
  std::optional<Limit> least_;
};

std::optional<std::int64_t> soft(__rlimit_resource resource) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  return static_cast<std::int64_t>(limit.rlim_cur);
}

// The limits on processes of all control groups from this process's own up.
void of_control_groups(const std::filesystem::path& root, Least& least) {
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (!controllers.empty() && controllers != "pids") continue;
    const std::filesystem::path top = root / (controllers.empty() ? "sys/fs/cgroup" : "sys/fs/cgroup/pids");
    for (std::filesystem::path group = line.substr(second + 1); !group.empty(); group = group.parent_path()) {
      const std::filesystem::path folder = top / group.relative_path();
      if (const auto most = number_in(folder / "pids.max")) {
        least.consider(*most - number_in(folder / "pids.current").value_or(0),
                       "the control group's limit of processes (pids.max)");
      }
      if (!group.has_relative_path()) break;
    }
  }
}

}  // namespace

std::string too_many_processes(int count, const std::filesystem::path& root) {
  Least least;
  least.consider(number_in(root / "proc/sys/kernel/pid_max"), "the kernel's limit of processes (kernel.pid_max)");
  least.consider(number_in(root / "proc/sys/kernel/threads-max"), "the kernel's limit of threads (kernel.threads-max)");
  if (::geteuid() != 0) least.consider(soft(RLIMIT_NPROC), "the limit of processes (ulimit -u)");
  if (const auto files = soft(RLIMIT_NOFILE))
    least.consider((*files - kOwnFiles) / 2, "the limit of open files (ulimit -n)");
  of_control_groups(root, least);
  if (const auto memory = memory_available(root)) least.consider(*memory / kLeastMemory, "the memory, at 1 MB each,");
  if (!least.get() || least.get()->most >= count) return "";
  return fmt::format("{} allows {}", least.get()->name, least.get()->most);
}

void require_process_limits(int ranks) {
  const std::string why = too_many_processes(ranks);
  if (why.empty()) return;
  throw ConfigError(fmt::format("expected a number of ranks that this machine can run, got {} (on {} cores): {}", ranks,
                                usable_cores(), why));
}

}  // namespace ringtron

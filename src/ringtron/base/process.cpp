#include "ringtron/base/process.h"

#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>
#include <string_view>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"

namespace ringtron {
namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

// The lowest free number is `fd`, since all below it are open.
void fill(int fd, int flags) {
  const int opened = ::open("/dev/null", flags);
  if (opened >= 0 && opened != fd) ::close(opened);
}

// MKL ends a process whose working folder is gone when libraries begin, before main(); what stands in .preinit_array
// runs before them. System calls only.
void require_working_folder(int, char**, char**) {
  char folder[4096];
  if (::getcwd(folder, sizeof folder) != nullptr || errno != ENOENT) return;
  constexpr std::string_view kText =
      "the working folder is gone: it was deleted or unmounted. Change to a folder that exists (cd)\n";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, kText.data(), kText.size());
  ::_exit(kExitUsage);
}

[[gnu::section(".preinit_array"), gnu::used]] void (*const before_libraries)(int, char**,
                                                                             char**) = require_working_folder;

}  // namespace

void prepare_process() {
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);
  const bool has_stdout = is_open(STDOUT_FILENO), has_stderr = is_open(STDERR_FILENO);
  if (!is_open(STDIN_FILENO)) fill(STDIN_FILENO, O_RDONLY);
  if (!has_stdout) fill(STDOUT_FILENO, O_WRONLY);
  if (!has_stderr) {
    if (has_stdout) {
      ::dup2(STDOUT_FILENO, STDERR_FILENO);
    } else {
      fill(STDERR_FILENO, O_WRONLY);
    }
  }
  if (!has_stdout && has_stderr) warn_line("standard output is closed: log lines are written nowhere");
}

double process_age() {
  // proc_pid_stat(5): after the name in parentheses, field 22 is the start in clock ticks since the machine's.
  std::ifstream file("/proc/self/stat");
  std::string text;
  std::getline(file, text);
  const std::size_t name_ends = text.rfind(')');
  timespec now{};
  if (name_ends == std::string::npos || ::clock_gettime(CLOCK_BOOTTIME, &now) != 0) return 0.0;
  std::istringstream fields(text.substr(name_ends + 1));
  std::string skipped;
  for (int i = 3; i < 22; ++i) fields >> skipped;
  double ticks = 0.0;
  if (!(fields >> ticks)) return 0.0;
  const double seconds = static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
  return std::max(0.0, seconds - ticks / static_cast<double>(::sysconf(_SC_CLK_TCK)));
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 && name[0] != '\0' ? name : "unknown";
}

}  // namespace ringtron

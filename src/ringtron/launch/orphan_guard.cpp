#include "ringtron/launch/orphan_guard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

// Messages are numbers: a group to watch, or minus a group to forget. They are shorter than PIPE_BUF, so one
// read gets one whole message.
[[noreturn]] void guard_until_closed(int from_supervisor) {
  ::setsid();  // out of reach of the terminal's signals
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  // A pipe of the supervisor's own parent must not stay open because of us.
  ::dup2(from_supervisor, STDIN_FILENO);
  ::close_range(STDOUT_FILENO, ~0U, 0);
  std::set<pid_t> groups;
  while (true) {
    pid_t message = 0;
    const ssize_t n = ::read(STDIN_FILENO, &message, sizeof message);
    if (n < 0 && errno == EINTR) continue;
    if (n != static_cast<ssize_t>(sizeof message)) break;
    if (message > 0) groups.insert(message);
    if (message < 0) groups.erase(-message);
  }
  for (const pid_t group : groups) ::kill(-group, SIGKILL);
  ::_exit(0);
}

}  // namespace

OrphanGuard::OrphanGuard() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    throw IoError(
        fmt::format("cannot make a pipe: {}; raise the limit of open files (ulimit -n)", std::strerror(errno)));
  }
  guard_ = ::fork();
  if (guard_ == 0) {
    ::close(ends[1]);
    guard_until_closed(ends[0]);
  }
  ::close(ends[0]);
  to_guard_ = ends[1];
  if (guard_ < 0) {
    ::close(to_guard_);
    throw IoError(
        fmt::format("cannot start a process: {}; raise the limit of processes (ulimit -u)", std::strerror(errno)));
  }
}

OrphanGuard::~OrphanGuard() {
  ::close(to_guard_);
  while (::waitpid(guard_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void OrphanGuard::tell(pid_t message) {
  while (::write(to_guard_, &message, sizeof message) < 0 && errno == EINTR) {
  }
}

void OrphanGuard::watch(pid_t group) { tell(group); }
void OrphanGuard::forget(pid_t group) { tell(-group); }

}  // namespace ringtron

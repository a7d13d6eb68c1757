#include "ringtron/launch/rank_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"

namespace ringtron {
namespace {

constexpr int kCannotRun = 127;  // the shell's code

struct Pipe {
  int read_end = -1;
  int write_end = -1;
};

Pipe make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    throw IoError(fmt::format("cannot make a pipe for a rank: {}; raise the limit of open files (ulimit -n)",
                              std::strerror(errno)));
  }
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return {ends[0], ends[1]};
}

[[noreturn]] void become(const RankCommand& command, const EnvironmentChanges& changes, pid_t supervisor) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The supervisor may have died before prctl; then no signal will come.
  if (::getppid() != supervisor) ::_exit(kCannotRun);
  for (const auto& [name, value] : changes) ::setenv(name.c_str(), value.c_str(), 1);
  std::vector<char*> arguments = {const_cast<char*>(command.program.c_str())};
  for (const std::string& argument : command.arguments) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::signal(SIGXFSZ, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execv(command.program.c_str(), arguments.data());
  const std::string why = fmt::format("cannot run {}: {}\n", excerpt(command.program, 400), std::strerror(errno));
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, why.data(), why.size());
  ::_exit(kCannotRun);
}

}  // namespace

RankProcess start_rank(const RankCommand& command, const EnvironmentChanges& changes) {
  const Pipe output = make_pipe();
  const Pipe error = make_pipe();
  const pid_t supervisor = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setpgid(0, 0);
    const int nothing = ::open("/dev/null", O_RDONLY);
    ::dup2(nothing, STDIN_FILENO);
    ::dup2(output.write_end, STDOUT_FILENO);
    ::dup2(error.write_end, STDERR_FILENO);
    if (nothing > STDERR_FILENO) ::close(nothing);
    become(command, changes, supervisor);
  }
  const int reason = errno;
  ::close(output.write_end);
  ::close(error.write_end);
  if (pid < 0) {
    ::close(output.read_end);
    ::close(error.read_end);
    throw IoError(fmt::format("cannot start a process for a rank: {}; raise the limit of processes (ulimit -u)",
                              std::strerror(reason)));
  }
  ::setpgid(pid, pid);  // here too, so that the group exists whichever of the two runs first
  return {.pid = pid, .output_fd = output.read_end, .error_fd = error.read_end};
}

}  // namespace ringtron

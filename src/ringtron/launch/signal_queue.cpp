#include "ringtron/launch/signal_queue.h"

#include <fmt/format.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "ringtron/base/error.h"

namespace ringtron {

SignalQueue::SignalQueue() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGCHLD);
  for (const int signal : kForwardedSignals) {
    struct sigaction now;
    ::sigaction(signal, nullptr, &now);
    if (now.sa_handler != SIG_IGN) ::sigaddset(&set, signal);
  }
  ::sigprocmask(SIG_BLOCK, &set, &mask_before_);
  pipe_before_ = ::signal(SIGPIPE, SIG_IGN);
  fd_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd_ < 0) throw IoError(fmt::format("cannot receive signals: {}", std::strerror(errno)));
}

SignalQueue::~SignalQueue() {
  ::close(fd_);
  ::signal(SIGPIPE, pipe_before_);
  ::sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
}

void SignalQueue::hold() {
  signalfd_siginfo info;
  while (::read(fd_, &info, sizeof info) == static_cast<ssize_t>(sizeof info))
    held_.push_back(static_cast<int>(info.ssi_signo));
}

std::vector<int> SignalQueue::all() {
  hold();
  return std::exchange(held_, {});
}

bool SignalQueue::holds(bool (*wanted)(int signal)) {
  hold();
  return std::ranges::any_of(held_, wanted);
}

}  // namespace ringtron

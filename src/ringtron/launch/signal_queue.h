// Signals as something to read, beside the pipes of the ranks.
#pragma once

#include <signal.h>

#include <array>
#include <vector>

namespace ringtron {

inline constexpr std::array kForwardedSignals = {SIGINT, SIGTERM, SIGHUP, SIGXCPU, SIGUSR1, SIGUSR2};
inline constexpr std::array kEndingSignals = {SIGINT, SIGTERM, SIGHUP, SIGXCPU};

// Blocks SIGCHLD and the forwarded signals, which are then read from fd(), and restores them at the end. Those that were ignored
// when we started (nohup) stay ignored.
class SignalQueue {
 public:
  SignalQueue();  // throws IoError
  ~SignalQueue();
  SignalQueue(const SignalQueue&) = delete;
  SignalQueue& operator=(const SignalQueue&) = delete;

  int fd() const { return fd_; }

  // Those that have come since the last call.
  std::vector<int> all();

 private:
  int fd_ = -1;
  sigset_t mask_before_;
  sighandler_t pipe_before_;
};

}  // namespace ringtron

// Signals as something to read, beside the pipes of the ranks.
#pragma once

#include <signal.h>

#include <array>
#include <vector>

namespace ringtron {

inline constexpr std::array kForwardedSignals = {SIGINT, SIGTERM, SIGHUP, SIGXCPU, SIGPWR, SIGUSR1, SIGUSR2};
inline constexpr std::array kEndingSignals = {SIGINT, SIGTERM, SIGHUP, SIGXCPU, SIGPWR};

// Blocks SIGCHLD and the forwarded signals, which are then read from fd(), and restores them at the end. Those that
// were ignored when we started (nohup) stay ignored.
class SignalQueue {
 public:
  SignalQueue();  // throws IoError
  ~SignalQueue();
  SignalQueue(const SignalQueue&) = delete;
  SignalQueue& operator=(const SignalQueue&) = delete;

  int fd() const { return fd_; }

  // Those that have come since the last call.
  std::vector<int> all();
  // Whether one has come that all() has not given yet. With `wanted`, one of those; this looks for new ones too, and
  // holds them, so that fd() has nothing to say of them any more.
  bool holds_any() const { return !held_.empty(); }
  bool holds(bool (*wanted)(int signal));

 private:
  void hold();

  int fd_ = -1;
  std::vector<int> held_;
  sigset_t mask_before_;
  sighandler_t pipe_before_;
};

}  // namespace ringtron

// For launch_trials.py, by LD_PRELOAD: a process that gets SIGRTMIN computes for ever on the thread that gets it, its
// first one. A rank that hangs without being stopped, with nothing in the program for it.
#include <signal.h>

namespace {

void spin(int) {
  for (volatile unsigned long rounds = 0;;) rounds = rounds + 1;
}

[[gnu::constructor]] void catch_signal() {
  struct sigaction action{};
  action.sa_handler = spin;
  sigaction(SIGRTMIN, &action, nullptr);
}

}  // namespace

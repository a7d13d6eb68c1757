// SIGUSR1 and SIGUSR2 on their way to ranks that may not have a handler yet: without one they would end the rank.
// Schedulers send them once, as a warning, also while a run starts; so they wait here until the rank can take them.
#pragma once

#include <sys/types.h>

#include <utility>
#include <vector>

namespace ringtron {

class UserSignals {
 public:
  void add(int signal, pid_t process) { waiting_.emplace_back(signal, process); }
  bool any() const { return !waiting_.empty(); }

  // Sends those whose process handles or ignores them by now.
  void deliver();
  // To be called before the process is reaped: afterwards its number may belong to strangers.
  void forget(pid_t process);

 private:
  std::vector<std::pair<int, pid_t>> waiting_;
};

// True if `process` has a handler for `signal` or ignores it, and where that cannot be known.
bool can_take(pid_t process, int signal);

}  // namespace ringtron

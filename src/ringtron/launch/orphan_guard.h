// Kills the ranks' process groups if the supervisor itself is killed with kill -9.
//
// The guard is a child process that waits for the supervisor's end of a pipe to close, which the kernel does
// however the supervisor ends. The ranks have PR_SET_PDEATHSIG besides, which works at once and without the
// guard, but does not reach processes that the ranks have started.
#pragma once

#include <sys/types.h>

namespace ringtron {

class OrphanGuard {
 public:
  // Forks. Make it before the ranks, while the process has one thread. Throws IoError.
  OrphanGuard();
  // Ends the guard and waits for it; groups still watched are killed.
  ~OrphanGuard();
  OrphanGuard(const OrphanGuard&) = delete;
  OrphanGuard& operator=(const OrphanGuard&) = delete;

  void watch(pid_t group);
  // To be called before the group's leader is reaped: afterwards its number may belong to strangers.
  void forget(pid_t group);

 private:
  void tell(pid_t message);

  int to_guard_ = -1;
  pid_t guard_ = -1;
};

}  // namespace ringtron

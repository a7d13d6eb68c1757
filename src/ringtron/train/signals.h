// Ctrl-C and preemption: a request to stop that the loop sees between two steps.
//
// SIGTERM, SIGINT and SIGUSR1 set a flag while a StopSignals lives; the run then saves and ends. A second SIGINT ends
// the process at once. One StopSignals per process: signals belong to the process, so this is its one piece of global
// state, and it is private to signals.cpp.
#pragma once

namespace ringtron {

class StopSignals {
 public:
  StopSignals();
  ~StopSignals();  // restores what was there before
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // The signal that was received, or 0.
  int received() const;
};

// "SIGTERM"
const char* signal_name(int signal);

}  // namespace ringtron

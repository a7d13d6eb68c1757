// Ctrl-C and preemption: a request to stop that the run sees between two steps.
//
// SIGTERM, SIGINT, SIGUSR1, and SIGHUP, SIGUSR2, SIGXCPU and SIGPWR unless they were ignored before (as under nohup),
// are caught while a StopSignals lives. Until the caller says that it looks, one of them ends the process at once, with
// a message; from then on it sets a flag, and the run saves and ends. A second SIGINT or SIGTERM, a second after the
// first of its kind or later, ends the process at once, also inside a long step. One StopSignals per process: signals
// belong to the process, so this is its one piece of global state, and it is private to signals.cpp.
#pragma once

namespace ringtron {

class StopSignals {
 public:
  // The first thing that a program does. Nobody looks yet: a signal ends the process as it would without this object,
  // but the message says of which, and names the stage.
  StopSignals();
  ~StopSignals();  // restores what was there before
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // What the process is at; a string that lives for ever, such as "loading the checkpoint".
  void enter(const char* stage);
  // The ranks have met, and start-up begins. It looks at signals between its stages only, and has nothing to lose: a
  // signal that has not been answered after 10 s ends the process with a message that names the stage, and exit code
  // 128 + signal.
  void start_up_begins();
  // Start-up is over. A signal that came in it is kept, and the caller looks at received() from now on. `follows`,
  // which lives for ever, says behind the name of a signal that comes what the caller does about it; null: nothing is
  // said.
  void start_up_is_done(const char* follows = nullptr);

  // The signal that was received, or 0.
  int received() const;
};

// Of a run that has ended in order after this signal: 0, or 128 + signal after Ctrl-C or `always`.
int exit_code_after(int signal, bool always = false);

// "SIGTERM"
const char* signal_name(int signal);

}  // namespace ringtron

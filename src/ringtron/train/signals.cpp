#include "ringtron/train/signals.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

constexpr std::array<int, 6> kSignals = {SIGTERM, SIGINT, SIGUSR1, SIGHUP, SIGUSR2, SIGXCPU};

// Whoever ignores these beforehand (nohup) does not mean a run to end of them.
bool stays_ignored(int signal) { return signal == SIGHUP || signal == SIGUSR2 || signal == SIGXCPU; }

constexpr unsigned kStartUpGrace = 10;  // seconds
std::atomic<int> received_signal{0};
std::atomic<bool> installed{false};
std::atomic<bool> in_start_up{false};
std::atomic<const char*> start_up_stage{""};
std::array<struct sigaction, kSignals.size()> before;
struct sigaction alarm_before;

void on_signal(int signal) {
  if (received_signal.exchange(signal) == SIGINT && signal == SIGINT) {
    ::signal(SIGINT, SIG_DFL);  // the person insists
    ::raise(SIGINT);
  }
  if (in_start_up) ::alarm(kStartUpGrace);
}

void append(char*& at, const char* end, const char* text) {
  while (*text != '\0' && at != end) *at++ = *text++;
}

// In a signal handler: no allocation, no format.
void on_alarm(int) {
  const int signal = received_signal;
  if (!in_start_up || signal == 0) return;
  char text[512];
  char* at = text;
  const char* const end = text + sizeof text;
  append(at, end, "exiting program after receiving ");
  append(at, end, signal_name(signal));
  append(at, end, " during start-up, which was still ");
  append(at, end, start_up_stage);
  append(at, end, " 10 s later. Nothing was trained: there is nothing to save\n");
  if (::write(STDERR_FILENO, text, static_cast<std::size_t>(at - text)) < 0) {
    // Nobody listens; the exit code says it as well.
  }
  ::_exit(128 + signal);
}

}  // namespace

StopSignals::StopSignals() {
  RT_CHECK(!installed.exchange(true), "two StopSignals at once");
  received_signal = 0;
  start_up_stage = "";
  in_start_up = true;
  struct sigaction action {};
  action.sa_handler = on_alarm;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGALRM, &action, &alarm_before);
  action.sa_handler = on_signal;
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], nullptr, &before[i]);
    if (stays_ignored(kSignals[i]) && before[i].sa_handler == SIG_IGN) continue;
    ::sigaction(kSignals[i], &action, nullptr);
  }
}

StopSignals::~StopSignals() {
  start_up_is_done();
  for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &before[i], nullptr);
  ::sigaction(SIGALRM, &alarm_before, nullptr);
  installed = false;
}

void StopSignals::enter(const char* stage) { start_up_stage = stage; }

void StopSignals::start_up_is_done() {
  in_start_up = false;
  ::alarm(0);
}

int StopSignals::received() const { return received_signal; }

int exit_code_after(int signal) { return signal == SIGINT ? 128 + SIGINT : 0; }

const char* signal_name(int signal) {
  switch (signal) {
    case SIGTERM: return "SIGTERM";
    case SIGINT: return "SIGINT";
    case SIGUSR1: return "SIGUSR1";
    case SIGHUP: return "SIGHUP";
    case SIGUSR2: return "SIGUSR2";
    case SIGXCPU: return "SIGXCPU";
    default: return "a signal";
  }
}

}  // namespace ringtron

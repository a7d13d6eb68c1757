#include "ringtron/train/signals.h"

#include <signal.h>

#include <array>
#include <atomic>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

constexpr std::array<int, 3> kSignals = {SIGTERM, SIGINT, SIGUSR1};
std::atomic<int> received_signal{0};
std::atomic<bool> installed{false};
std::array<struct sigaction, kSignals.size()> before;

void on_signal(int signal) {
  if (received_signal.exchange(signal) == SIGINT && signal == SIGINT) {
    ::signal(SIGINT, SIG_DFL);  // the person insists
    ::raise(SIGINT);
  }
}

}  // namespace

StopSignals::StopSignals() {
  RT_CHECK(!installed.exchange(true), "two StopSignals at once");
  received_signal = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &action, &before[i]);
}

StopSignals::~StopSignals() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &before[i], nullptr);
  installed = false;
}

int StopSignals::received() const { return received_signal; }

const char* signal_name(int signal) {
  switch (signal) {
    case SIGTERM: return "SIGTERM";
    case SIGINT: return "SIGINT";
    case SIGUSR1: return "SIGUSR1";
    default: return "a signal";
  }
}

}  // namespace ringtron

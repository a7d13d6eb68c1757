#include "ringtron/train/signals.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <initializer_list>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

constexpr std::array<int, 7> kSignals = {SIGTERM, SIGINT, SIGUSR1, SIGHUP, SIGUSR2, SIGXCPU, SIGPWR};

// Whoever ignores these beforehand (nohup) does not mean a run to end of them.
bool stays_ignored(int signal) {
  return signal == SIGHUP || signal == SIGUSR2 || signal == SIGXCPU || signal == SIGPWR;
}

constexpr unsigned kStartUpGrace = 10;  // seconds
std::atomic<int> received_signal{0};
std::atomic<bool> installed{false};
enum class Phase { unwatched, start_up, running };
std::atomic<Phase> phase{Phase::unwatched};
std::atomic<const char*> current_stage{""};
std::atomic<const char*> what_follows{nullptr};  // the line at the first signal, behind its name

// When the first SIGTERM and the first SIGINT came, in ns of the monotonic clock; 0: none. Of the others a second one
// asks for nothing new: schedulers warn more than once.
std::atomic<std::int64_t> first_term{0}, first_interrupt{0};
static_assert(std::atomic<std::int64_t>::is_always_lock_free);
// Launchers (timeout, Slurm) signal the process and then its group, so that one wish arrives twice.
constexpr std::int64_t kSameWish = 1'000'000'000;
std::array<struct sigaction, kSignals.size()> before;
struct sigaction alarm_before;

// In a signal handler: no allocation, no format.
void say(std::initializer_list<const char*> words) {
  char text[512];
  char* at = text;
  const char* const end = text + sizeof text;
  for (const char* word : words) {
    while (*word != '\0' && at != end) *at++ = *word++;
  }
  if (::write(STDERR_FILENO, text, static_cast<std::size_t>(at - text)) < 0) {
    // Nobody listens; the way the process ends says it as well.
  }
}

constexpr const char* kNothingLost = ". Nothing was trained: there is nothing to save\n";

// Ends the process as if nobody had caught the signal: at the return of its handler.
void let_it_end(int signal) {
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

enum class Wish { first, same, insists };

Wish wish_of(int signal) {
  if (signal != SIGTERM && signal != SIGINT) return received_signal == signal ? Wish::same : Wish::first;
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const std::int64_t at = static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
  std::int64_t first = 0;
  if ((signal == SIGTERM ? first_term : first_interrupt).compare_exchange_strong(first, at)) return Wish::first;
  return at - first < kSameWish ? Wish::same : Wish::insists;
}

void on_signal(int signal) {
  if (phase == Phase::unwatched) {
    const char* const stage = current_stage;
    if (*stage != '\0') {
      say({"exiting program after receiving ", signal_name(signal), " while ", stage, kNothingLost});
    } else {
      say({"exiting program after receiving ", signal_name(signal), "\n"});
    }
    return let_it_end(signal);
  }
  const Wish wish = wish_of(signal);
  received_signal = signal;
  if (wish == Wish::insists) {
    say({"exiting program at once: ", signal_name(signal), " came again",
         phase == Phase::running ? ". What was not saved is lost\n" : "\n"});
    return let_it_end(signal);
  }
  const char* const follows = what_follows;
  if (phase == Phase::running && wish == Wish::first && follows != nullptr)
    say({signal_name(signal), " received: ", follows, "\n"});
  if (phase == Phase::start_up) ::alarm(kStartUpGrace);
}

void on_alarm(int) {
  const int signal = received_signal;
  if (phase != Phase::start_up || signal == 0) return;
  say({"exiting program after receiving ", signal_name(signal), " during start-up, which was still ", current_stage,
       " 10 s later", kNothingLost});
  ::_exit(128 + signal);
}

}  // namespace

StopSignals::StopSignals() {
  RT_CHECK(!installed.exchange(true), "two StopSignals at once");
  received_signal = 0;
  first_term = first_interrupt = 0;
  what_follows = nullptr;
  current_stage = "";
  phase = Phase::unwatched;
  struct sigaction action{};
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
  ::alarm(0);
  for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &before[i], nullptr);
  ::sigaction(SIGALRM, &alarm_before, nullptr);
  installed = false;
}

void StopSignals::enter(const char* stage) { current_stage = stage; }

void StopSignals::start_up_begins() { phase = Phase::start_up; }

void StopSignals::start_up_is_done(const char* follows) {
  what_follows = follows;
  phase = Phase::running;
  ::alarm(0);
}

int StopSignals::received() const { return received_signal; }

int exit_code_after(int signal, bool always) { return always || signal == SIGINT ? 128 + signal : 0; }

const char* signal_name(int signal) {
  switch (signal) {
    case SIGTERM:
      return "SIGTERM";
    case SIGINT:
      return "SIGINT";
    case SIGUSR1:
      return "SIGUSR1";
    case SIGHUP:
      return "SIGHUP";
    case SIGUSR2:
      return "SIGUSR2";
    case SIGXCPU:
      return "SIGXCPU";
    case SIGPWR:
      return "SIGPWR";
    default:
      return "a signal";
  }
}

}  // namespace ringtron

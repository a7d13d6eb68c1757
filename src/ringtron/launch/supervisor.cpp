#include "ringtron/launch/supervisor.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"
#include "ringtron/launch/failure_report.h"
#include "ringtron/launch/line_relay.h"
#include "ringtron/launch/orphan_guard.h"

namespace ringtron {
namespace {

// A rank that closes its connections while it unwinds may outlive the peers that fail because of it. So a
// failure that is a consequence waits this long for its cause before the others are ended.
constexpr std::chrono::milliseconds kWaitForCause(500);
// The same for a rank that has not said why it failed: another one, most often rank 0, may still be about to.
constexpr std::chrono::milliseconds kWaitForWords(1500);
// A process that hangs inside the kernel does not die of SIGKILL; we do not wait for it for ever.
constexpr std::chrono::milliseconds kWaitForKilled(10'000);

constexpr std::array kForwarded = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};

void say(const std::string& sentence) {
  const std::string line = "ringrun: " + sentence + "\n";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

// Blocks the signals that the supervisor reads from fd(), and restores them at the end. Those that were
// ignored when we started (nohup) stay ignored.
class SignalQueue {
 public:
  SignalQueue() {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGCHLD);
    for (const int signal : kForwarded) {
      struct sigaction now;
      ::sigaction(signal, nullptr, &now);
      if (now.sa_handler != SIG_IGN) ::sigaddset(&set, signal);
    }
    ::sigprocmask(SIG_BLOCK, &set, &mask_before_);
    pipe_before_ = ::signal(SIGPIPE, SIG_IGN);
    fd_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd_ < 0) throw IoError(fmt::format("cannot receive signals: {}", std::strerror(errno)));
  }
  ~SignalQueue() {
    ::close(fd_);
    ::signal(SIGPIPE, pipe_before_);
    ::sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
  }
  SignalQueue(const SignalQueue&) = delete;
  SignalQueue& operator=(const SignalQueue&) = delete;

  int fd() const { return fd_; }

  // Those that have come since the last call.
  std::vector<int> all() {
    std::vector<int> signals;
    signalfd_siginfo info;
    while (::read(fd_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) signals.push_back(static_cast<int>(info.ssi_signo));
    return signals;
  }

 private:
  int fd_ = -1;
  sigset_t mask_before_;
  sighandler_t pipe_before_;
};

struct Rank {
  int number;
  pid_t pid;
  bool running;
  LineRelay output;
  LineRelay error;
};

class Supervisor {
 public:
  explicit Supervisor(const SupervisorOptions& options) : options_(options) {}

  ~Supervisor() {
    signal_groups(SIGKILL);
    for (Rank& rank : ranks_) {
      if (rank.running) reap(rank);
    }
  }

  void start(const RankCommand& command) {
    const int world = options_.nodes * options_.ranks_per_node;
    ranks_.reserve(static_cast<std::size_t>(options_.ranks_per_node));
    for (int local = 0; local < options_.ranks_per_node; ++local) {
      const int number = options_.node_rank * options_.ranks_per_node + local;
      EnvironmentChanges changes = options_.environment;
      changes.insert(changes.end(), {{"RANK", std::to_string(number)},
                                     {"WORLD_SIZE", std::to_string(world)},
                                     {"LOCAL_RANK", std::to_string(local)},
                                     {"LOCAL_WORLD_SIZE", std::to_string(options_.ranks_per_node)},
                                     {"GROUP_RANK", std::to_string(options_.node_rank)},
                                     {"MASTER_ADDR", options_.master_addr},
                                     {"MASTER_PORT", std::to_string(options_.master_port)}});
      const RankProcess process = start_rank(command, changes);
      guard_.watch(process.pid);
      const std::string prefix = options_.prefix_lines ? fmt::format("[rank {}] ", number) : "";
      ranks_.push_back({number, process.pid, true, LineRelay(process.output_fd, STDOUT_FILENO, prefix),
                        LineRelay(process.error_fd, STDERR_FILENO, prefix)});
    }
  }

  int run() {
    while (any_running() && phase_ != Phase::given_up) {
      wait_for_something();
      for (Rank& rank : ranks_) {
        rank.output.pump();
        rank.error.pump();
      }
      // Signals are read before the dead are collected: a death in between leaves a SIGCHLD, and we do not sleep over it. They are
      // passed on after: a rank that has died already did not die of what we send now.
      const std::vector<int> arrived = signals_.all();
      collect_dead();
      report_stopped();
      for (const int signal : arrived) {
        if (signal != SIGCHLD) forward(signal);
      }
      if (deadline_ && SteadyClock::now() >= *deadline_) deadline_passed();
    }
    report_failure();
    return exit_code_;
  }

 private:
  // running: all is well. stopping: told to end by the user. finding_cause: a rank failed because of another
  // one that is not known yet. ending: the others have SIGTERM. killing: they have SIGKILL.
  enum class Phase { running, stopping, finding_cause, ending, killing, given_up };

  bool any_running() const {
    return std::ranges::any_of(ranks_, [](const Rank& rank) { return rank.running; });
  }

  void wait_for_something() {
    std::vector<pollfd> fds = {{.fd = signals_.fd(), .events = POLLIN, .revents = 0}};
    for (const Rank& rank : ranks_) {
      for (const int fd : {rank.output.fd(), rank.error.fd()}) {
        if (fd >= 0) fds.push_back({.fd = fd, .events = POLLIN, .revents = 0});
      }
    }
    int timeout = -1;
    if (deadline_) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline_ - SteadyClock::now()).count();
      timeout = static_cast<int>(std::clamp<long>(left, 0, std::numeric_limits<int>::max()));
    }
    ::poll(fds.data(), fds.size(), timeout);
  }

  void signal_groups(int signal) {
    for (const Rank& rank : ranks_) {
      if (rank.running) ::kill(-rank.pid, signal);
    }
  }

  // What a rank leaves behind in its group is killed while the dead rank still holds the group's number.
  void reap(Rank& rank) {
    ::kill(-rank.pid, SIGKILL);
    guard_.forget(rank.pid);
    while (::waitpid(rank.pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    rank.running = false;
    rank.output.finish();
    rank.error.finish();
  }

  void collect_dead() {
    for (Rank& rank : ranks_) {
      if (!rank.running) continue;
      siginfo_t info = {};
      if (::waitid(P_PID, static_cast<id_t>(rank.pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0) continue;
      if (info.si_pid != rank.pid) continue;
      reap(rank);
      const bool by_itself = info.si_code == CLD_EXITED;
      if (by_itself && info.si_status == 0) continue;
      judge({.rank = rank.number,
             .pid = rank.pid,
             .exit_code = by_itself ? info.si_status : 0,
             .signal = by_itself ? 0 : info.si_status,
             .last_line = rank.error.last_line()});
    }
    if (phase_ != Phase::finding_cause) return;
    const RankFailure& cause = failures_[first_cause(failures_)];
    if (!is_consequence(cause) && !is_silent(cause)) end_others();
  }

  // A stopped process answers nothing, so its peers can only say whom they wait for; the kernel tells its parent at once.
  void report_stopped() {
    for (const Rank& rank : ranks_) {
      siginfo_t info = {};
      if (!rank.running || ::waitid(P_PID, static_cast<id_t>(rank.pid), &info, WSTOPPED | WCONTINUED | WNOHANG) != 0) continue;
      if (info.si_pid != rank.pid) continue;
      if (info.si_code == CLD_CONTINUED) {
        say(fmt::format("rank {} (pid {}) goes on", rank.number, rank.pid));
      } else {
        say(fmt::format("rank {} (pid {}) is stopped ({}), and the others will wait for it; kill -CONT {} lets it go on", rank.number,
                        rank.pid, signal_name(info.si_status), rank.pid));
      }
    }
  }

  void judge(RankFailure failure) {
    if (phase_ == Phase::stopping && (failure.signal == stop_signal_ || failure.exit_code == 128 + stop_signal_)) {
      stopped_by_signal_ = true;  // it did what it was told, with or without a handler
      return;
    }
    if (phase_ == Phase::ending || phase_ == Phase::killing) return;  // our own doing
    const auto wait = is_silent(failure) ? kWaitForWords : kWaitForCause;
    failures_.push_back(std::move(failure));
    // Even a clear failure goes through finding_cause: the rest of this sweep may hold an earlier one.
    if (phase_ != Phase::finding_cause) enter(Phase::finding_cause, wait);
  }

  void forward(int signal) {
    const bool ends = signal == SIGINT || signal == SIGTERM;
    if (!ends) {
      for (const Rank& rank : ranks_) {
        if (rank.running) ::kill(signal == SIGHUP ? -rank.pid : rank.pid, signal);
      }
      return;
    }
    if (signal == SIGINT && stop_signal_ != 0) {
      say("second interrupt: killing all ranks");
      kill_all();
      return;
    }
    signal_groups(signal);
    if (stop_signal_ != 0) return;
    stop_signal_ = signal;
    if (phase_ != Phase::running) return;
    say(fmt::format("{} received and passed to all ranks; waiting up to {:.0f} s for them to save and end",
                    signal_name(signal), std::chrono::duration<double>(options_.stop_grace).count()));
    enter(Phase::stopping, options_.stop_grace);
  }

  void enter(Phase phase, std::chrono::milliseconds time) {
    phase_ = phase;
    deadline_ = SteadyClock::now() + time;
  }

  void end_others() {
    signal_groups(SIGTERM);
    enter(Phase::ending, options_.failure_grace);
  }

  void kill_all() {
    signal_groups(SIGKILL);
    killed_ = true;
    enter(Phase::killing, kWaitForKilled);
  }

  void deadline_passed() {
    if (phase_ == Phase::finding_cause) {
      end_others();
    } else if (phase_ != Phase::killing) {
      if (phase_ == Phase::stopping) say("the ranks did not end in time: killing them");
      kill_all();
    } else {
      give_up();
    }
  }

  // Their process groups stay with the guard, which signals them once more.
  void give_up() {
    for (Rank& rank : ranks_) {
      if (!rank.running) continue;
      say(fmt::format(
          "rank {} (pid {}) does not die of SIGKILL: it hangs inside the kernel, look at its device or disk",
          rank.number, rank.pid));
      rank.running = false;
    }
    phase_ = Phase::given_up;
  }

  void report_failure() {
    if (failures_.empty()) {
      if (stopped_by_signal_ || killed_) exit_code_ = 128 + stop_signal_;
      return;
    }
    const std::size_t first = first_cause(failures_);
    const RankFailure& cause = failures_[first];
    exit_code_ = shell_exit_code(cause);
    say(fmt::format("{}; it failed first, all other ranks were ended", describe(cause)));
    if (!cause.last_line.empty()) say(fmt::format("its last line on stderr: {}", cause.last_line));
    for (std::size_t i = 0; i < failures_.size(); ++i) {
      if (i != first) say(fmt::format("also: {}", describe(failures_[i])));
    }
  }

  const SupervisorOptions& options_;
  SignalQueue signals_;
  OrphanGuard guard_;
  std::vector<Rank> ranks_;
  std::vector<RankFailure> failures_;  // those that we did not cause, as seen
  Phase phase_ = Phase::running;
  std::optional<SteadyClock::time_point> deadline_;
  int stop_signal_ = 0;  // the first SIGINT or SIGTERM
  bool stopped_by_signal_ = false;
  bool killed_ = false;
  int exit_code_ = 0;
};

}  // namespace

int supervise(const RankCommand& command, const SupervisorOptions& options) {
  RT_CHECK(options.ranks_per_node >= 1 && options.node_rank < options.nodes,
           "expected at least one rank and node rank {} below {}", options.node_rank, options.nodes);
  Supervisor supervisor(options);
  supervisor.start(command);
  return supervisor.run();
}

}  // namespace ringtron

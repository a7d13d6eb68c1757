#include "ringtron/launch/supervisor.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <optional>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/base/clock.h"
#include "ringtron/base/text.h"
#include "ringtron/launch/failure_report.h"
#include "ringtron/launch/hang_report.h"
#include "ringtron/launch/line_relay.h"
#include "ringtron/launch/orphan_guard.h"
#include "ringtron/launch/output_queue.h"
#include "ringtron/launch/process_limits.h"
#include "ringtron/launch/signal_queue.h"
#include "ringtron/launch/supervisor_times.h"
#include "ringtron/launch/user_signals.h"

namespace ringtron {
namespace {

bool ends_a_run(int signal) { return std::ranges::find(kEndingSignals, signal) != kEndingSignals.end(); }

struct Rank {
  int number;
  RankProcess process;
  bool running = true;
  bool stopped = false;
  std::optional<LineRelay> output = {};  // once all ranks are started
  std::optional<LineRelay> error = {};

  pid_t pid() const { return process.pid; }
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
    ranks_.reserve(static_cast<std::size_t>(options_.ranks_per_node));
    for (int local = 0; local < options_.ranks_per_node && !signals_.holds(ends_a_run); ++local) {
      const int number = options_.node_rank * options_.ranks_per_node + local;
      ranks_.push_back({number, start_rank(command, rank_environment(options_, local))});
      guard_.watch(ranks_.back().pid());
    }
    // Only now: it starts threads, and a fork copies none of them but whatever they hold.
    outputs_.emplace();
    for (const std::string& notice : options_.notices) say(notice);
    for (Rank& rank : ranks_) {
      const std::string prefix = options_.prefix_lines ? fmt::format("[rank {}] ", rank.number) : "";
      rank.output.emplace(rank.process.output_fd, outputs_->out(), prefix);
      rank.error.emplace(rank.process.error_fd, outputs_->err(), prefix);
    }
  }

  int run() {
    while (any_running() && phase_ != Phase::given_up) {
      wait_for_something();
      for (Rank& rank : ranks_) {
        for (LineRelay* relay : {&*rank.output, &*rank.error}) {
          if (!held_back(*relay)) relay->pump();
        }
      }
      // Signals are read before the dead are collected: a death in between leaves a SIGCHLD, and we do not sleep over
      // it. They are passed on after: a rank that has died already did not die of what we send now.
      const std::vector<int> arrived = signals_.all();
      collect_dead();
      note_stopped();
      for (const int signal : arrived) {
        if (signal != SIGCHLD) forward(signal);
      }
      user_signals_.deliver();
      if (deadline_ && SteadyClock::now() >= *deadline_) deadline_passed();
    }
    await_own_signal();
    report();
    outputs_->flush([this] { return std::ranges::any_of(signals_.all(), ends_a_run); });
    return exit_code_;
  }

 private:
  // running: all is well. stopping: told to end by the user. finding_cause: a rank failed because of another
  // one that is not known yet. ending: the others have SIGTERM. killing: they have SIGKILL.
  enum class Phase { running, stopping, finding_cause, ending, killing, given_up };

  bool any_running() const {
    return std::ranges::any_of(ranks_, [](const Rank& rank) { return rank.running; });
  }

  void say(const std::string& sentence) { outputs_->err().put("ringrun: " + excerpt(sentence, 10'000) + "\n"); }

  // While all is well, a rank that writes faster than our reader reads waits; once the run is to end, nothing may wait.
  bool held_back(const LineRelay& relay) const { return phase_ == Phase::running && relay.is_busy(); }

  void wait_for_something() {
    std::vector<pollfd> fds = {{.fd = signals_.fd(), .events = POLLIN, .revents = 0}};
    bool busy = false;
    for (const Rank& rank : ranks_) {
      for (const LineRelay* relay : {&*rank.output, &*rank.error}) {
        if (relay->fd() < 0) continue;
        if (held_back(*relay)) {
          busy = true;
        } else {
          fds.push_back({.fd = relay->fd(), .events = POLLIN, .revents = 0});
        }
      }
    }
    long timeout = signals_.holds_any() ? 0 : busy || user_signals_.any() ? kBusyPause.count() : -1;
    if (deadline_) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline_ - SteadyClock::now()).count();
      const long bounded = std::clamp<long>(left, 0, std::numeric_limits<int>::max());
      timeout = timeout < 0 ? bounded : std::min(timeout, bounded);
    }
    ::poll(fds.data(), fds.size(), static_cast<int>(timeout));
  }

  void signal_groups(int signal) {
    for (const Rank& rank : ranks_) {
      if (rank.running) ::kill(-rank.pid(), signal);
    }
  }

  // What a rank leaves behind in its group is killed while the dead rank still holds the group's number.
  void reap(Rank& rank) {
    ::kill(-rank.pid(), SIGKILL);
    guard_.forget(rank.pid());
    user_signals_.forget(rank.pid());
    while (::waitpid(rank.pid(), nullptr, 0) < 0 && errno == EINTR) {
    }
    rank.running = false;
    if (rank.output) rank.output->finish();
    if (rank.error) rank.error->finish();
  }

  void collect_dead() {
    for (Rank& rank : ranks_) {
      if (!rank.running) continue;
      siginfo_t info = {};
      if (::waitid(P_PID, static_cast<id_t>(rank.pid()), &info, WEXITED | WNOHANG | WNOWAIT) != 0) continue;
      if (info.si_pid != rank.pid()) continue;
      reap(rank);
      const bool by_itself = info.si_code == CLD_EXITED;
      judge({.rank = rank.number,
             .pid = rank.pid(),
             .exit_code = by_itself ? info.si_status : 0,
             .signal = by_itself ? 0 : info.si_status,
             .words = rank.error->stderr_tail()});
    }
    if (phase_ == Phase::finding_cause && cause_is_known()) end_others();
  }

  bool cause_is_known() const {
    const RankFailure& cause = failures_[first_cause(failures_)];
    if (!is_consequence(cause)) return !is_unclear(cause);
    if (!waited_in_vain(cause)) return false;
    // Whoever can still say something about its wait has said it.
    const auto alive = std::ranges::count_if(ranks_, [](const Rank& rank) { return rank.running; });
    const auto mute = std::ranges::count_if(ranks_, [](const Rank& rank) { return rank.running && rank.stopped; });
    return alive == mute || (alive <= 1 && options_.nodes == 1);
  }

  // A stopped process answers nothing, so its peers can only say whom they wait for; the kernel tells its parent at
  // once.
  void note_stopped() {
    for (Rank& rank : ranks_) {
      siginfo_t info = {};
      if (!rank.running || ::waitid(P_PID, static_cast<id_t>(rank.pid()), &info, WSTOPPED | WCONTINUED | WNOHANG) != 0)
        continue;
      if (info.si_pid != rank.pid()) continue;
      rank.stopped = info.si_code != CLD_CONTINUED;
      if (!rank.stopped) {
        say(fmt::format("rank {} (pid {}) goes on", rank.number, rank.pid()));
      } else {
        say(fmt::format(
            "rank {} (pid {}) is stopped ({}), and the others will wait for it; kill -CONT {} lets it go on",
            rank.number, rank.pid(), signal_text(info.si_status), rank.pid()));
      }
    }
  }

  void judge(RankFailure failure) {
    const bool well = failure.signal == 0 && failure.exit_code == 0;
    if (stop_signal_ != 0 && (well || as_told(failure))) {
      ended_on_request_ = true;
      if (!well) stopped_.push_back(failure.rank);  // it did what it was told, with or without a handler
      return;
    }
    if (well) return;
    if (phase_ == Phase::ending || phase_ == Phase::killing) {  // our own doing
      failure.signal = 0;                                       // ours; what it said before counts
      if (is_consequence(failure)) late_words_.push_back(std::move(failure));
      return;
    }
    const bool consequence = is_consequence(failure);
    const auto wait = waited_in_vain(failure)               ? kWaitForVictims
                      : !consequence && is_unclear(failure) ? kWaitForWords
                                                            : kWaitForCause;
    failures_.push_back(std::move(failure));
    if (phase_ == Phase::stopping && consequence) return;  // of a peer that ended as it was told, most likely
    // Even a clear failure goes through finding_cause: the rest of this sweep may hold an earlier one.
    if (phase_ != Phase::finding_cause) enter(Phase::finding_cause, wait);
  }

  bool as_told(const RankFailure& failure) const {
    return failure.signal == stop_signal_ || failure.exit_code == 128 + stop_signal_;
  }

  void forward(int signal) {
    if (!ends_a_run(signal)) {
      for (const Rank& rank : ranks_) {
        if (rank.running) user_signals_.add(signal, rank.pid());
      }
      return;
    }
    if (signal == SIGINT && stop_signal_ == SIGINT) {
      say("second interrupt: killing all ranks");
      kill_all();
      return;
    }
    signal_groups(signal);
    if (stop_signal_ != 0) return;
    stop_signal_ = signal;
    // Whoever stops a whole job signals the ranks as well, and one may have ended of it before we read ours.
    if (phase_ == Phase::finding_cause || phase_ == Phase::ending) take_back_stopped();
    if (phase_ != Phase::running) return;
    say(fmt::format("{} received and passed to all ranks; waiting up to {:.0f} s for them to save and end",
                    signal_text(signal), std::chrono::duration<double>(options_.stop_grace).count()));
    enter(Phase::stopping, options_.stop_grace);
  }

  void take_back_stopped() {
    std::erase_if(failures_, [this](const RankFailure& failure) {
      if (as_told(failure)) stopped_.push_back(failure.rank);
      return as_told(failure);
    });
    ended_on_request_ = !stopped_.empty();
    if (failures_.empty() && phase_ == Phase::finding_cause) phase_ = Phase::running;
  }

  // A rank that ended of a signal that ends runs: ours may be on its way.
  void await_own_signal() {
    const auto end = SteadyClock::now() + kWaitForCause;
    while (stop_signal_ == 0 && !failures_.empty() && ends_a_run(failures_[first_cause(failures_)].signal) &&
           SteadyClock::now() < end) {
      pollfd wait = {.fd = signals_.fd(), .events = POLLIN, .revents = 0};
      ::poll(&wait, 1, static_cast<int>(kBusyPause.count()));
      for (const int signal : signals_.all()) {
        if (!ends_a_run(signal) || stop_signal_ != 0) continue;
        stop_signal_ = signal;
        take_back_stopped();
      }
    }
  }

  void enter(Phase phase, std::chrono::milliseconds time) {
    phase_ = phase;
    deadline_ = SteadyClock::now() + time;
  }

  void end_others() {
    const RankFailure& cause = failures_[first_cause(failures_)];
    bool all_stopped = true;
    for (const Rank& rank : ranks_) {
      if (!rank.running) continue;
      const bool stopped = rank.stopped || group_is_stopped(rank.pid());
      all_stopped = all_stopped && stopped;
      if (waited_in_vain(cause)) silent_.push_back({rank.number, rank.pid(), stopped, process_state(rank.pid())});
    }
    if (!silent_.empty() && all_stopped) return kill_all();  // they cannot hear anything else
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
      if (phase_ == Phase::stopping) say(fmt::format("{} did not end in time: killing them", still_there()));
      kill_all();
    } else {
      give_up();
    }
  }

  std::string still_there() const {
    std::vector<std::string> ranks;
    for (const Rank& rank : ranks_) {
      if (rank.running) ranks.push_back(fmt::format("{}{}", rank.number, rank.stopped ? " (stopped)" : ""));
    }
    return fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", fmt::join(ranks, ", "));
  }

  // Their process groups stay with the guard, which signals them once more.
  void give_up() {
    for (Rank& rank : ranks_) {
      if (!rank.running) continue;
      say(fmt::format(
          "rank {} (pid {}) does not die of SIGKILL: it hangs inside the kernel, look at its device or disk",
          rank.number, rank.pid()));
      rank.running = false;
    }
    phase_ = Phase::given_up;
  }

  void report() {
    if (ended_on_request_) std::erase_if(failures_, is_consequence);
    if (!failures_.empty()) return report_failure();
    if (!stopped_.empty() || killed_) exit_code_ = 128 + stop_signal_;
    if (stop_signal_ == 0) return;
    std::ranges::sort(stopped_);
    say(describe_stop(stop_signal_, stopped_, killed_));
  }

  void report_failure() {
    const std::size_t first = first_cause(failures_);
    const RankFailure& cause = failures_[first];
    exit_code_ = shell_exit_code(cause);
    const std::optional<std::string> frozen = find_hung_rank();
    if (!frozen) say(fmt::format("{}; it failed first, all other ranks were ended", describe(cause)));
    for (const std::string& line : words_of(cause)) say(line);
    for (std::size_t i = 0; i < failures_.size(); ++i) {
      if (i != first) say(fmt::format("also: {}", describe(failures_[i])));
    }
    if (frozen) say(*frozen);
  }

  std::optional<std::string> find_hung_rank() {
    std::vector<RankFailure> waited = failures_;
    waited.insert(waited.end(), late_words_.begin(), late_words_.end());
    std::erase_if(silent_, [&](const SilentRank& rank) {
      return !rank.stopped &&
             std::ranges::any_of(waited, [&](const RankFailure& failure) { return failure.rank == rank.rank; });
    });
    return describe_hang(waited, silent_, {.other_nodes = options_.nodes > 1, .log = last_of_log()});
  }

  // Training's log line comes from the last rank, what is before training from rank 0.
  std::string last_of_log() const {
    for (const Rank* rank : {&ranks_.back(), &ranks_.front()}) {
      const std::string& line = rank->output->last_line();
      if (!line.empty()) return std::string(trim(line.substr(0, std::min<std::size_t>(line.find(" |"), 100))));
    }
    return "";
  }

  const SupervisorOptions& options_;
  SignalQueue signals_;
  OrphanGuard guard_;
  UserSignals user_signals_;
  std::optional<Outputs> outputs_;
  std::vector<Rank> ranks_;
  std::vector<RankFailure> failures_;    // those that we did not cause, as seen
  std::vector<RankFailure> late_words_;  // of ranks that waited, from those that we ended
  std::vector<SilentRank> silent_;       // who was there after others had waited in vain
  Phase phase_ = Phase::running;
  std::optional<SteadyClock::time_point> deadline_;
  int stop_signal_ = 0;            // the first that was to end the run
  bool ended_on_request_ = false;  // a rank has ended since as it should
  std::vector<int> stopped_;       // ranks that ended of stop_signal_ itself
  bool killed_ = false;
  int exit_code_ = 0;
};

}  // namespace

int supervise(const RankCommand& command, const SupervisorOptions& options) {
  RT_CHECK(options.ranks_per_node >= 1 && options.node_rank < options.nodes,
           "expected at least one rank and node rank {} below {}", options.node_rank, options.nodes);
  require_process_limits(options.ranks_per_node);
  Supervisor supervisor(options);
  supervisor.start(command);
  return supervisor.run();
}

}  // namespace ringtron

// Starts, polls and ends the rank processes.
#include "tests/support/rank_pool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "ringtron/base/text.h"

extern char** environ;

namespace ringtron::testing {
namespace {

// After the first failure the others get this long to say what they saw.
constexpr auto kLastWords = std::chrono::milliseconds(2000);

struct Pipe {
  int read;
  int write;
};

Pipe make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe failed");
  return {ends[0], ends[1]};
}

void close_fd(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

// This process's environment without what would make a rank behave like a test run of its own.
std::vector<std::string> rank_environment(const std::string& rank_value) {
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    if (text.starts_with("GTEST_") || text.starts_with("TEST_") || text.starts_with("OMP_NUM_THREADS=") ||
        text.starts_with(kRankVariable)) {
      continue;
    }
    result.emplace_back(text);
  }
  result.push_back("OMP_NUM_THREADS=1");
  result.push_back(fmt::format("{}={}", kRankVariable, rank_value));
  return result;
}

std::string prefixed(int rank, const std::string& text) {
  std::string result;
  for (const std::string& line : split(std::string(trim(text)), '\n'))
    result += fmt::format("[rank {}] {}\n", rank, line);
  return result;
}

std::string describe_end(int status) {
  if (WIFSIGNALED(status)) return fmt::format("died of signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
  return fmt::format("ended with exit code {} in the middle of the test", WEXITSTATUS(status));
}

}  // namespace

RankPool::~RankPool() { kill_all(); }

void RankPool::start(int rank) {
  const Pipe command = make_pipe();
  const Pipe report = make_pipe();
  const Pipe output = make_pipe();
  constexpr int kCommandFd = 3, kReportFd = 4;
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  // dup2 to itself would keep close-on-exec, so go through high numbers.
  const int high_command = ::fcntl(command.read, F_DUPFD_CLOEXEC, 100);
  const int high_report = ::fcntl(report.write, F_DUPFD_CLOEXEC, 100);
  ::posix_spawn_file_actions_adddup2(&actions, output.write, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, output.write, STDERR_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, high_command, kCommandFd);
  ::posix_spawn_file_actions_adddup2(&actions, high_report, kReportFd);

  std::vector<std::string> environment =
      rank_environment(fmt::format("{},{},{},{}", rank, kCommandFd, kReportFd, store_port_));
  std::vector<char*> environment_pointers;
  for (std::string& entry : environment) environment_pointers.push_back(entry.data());
  environment_pointers.push_back(nullptr);
  std::vector<std::string> arguments{"rank_process", "--gtest_filter=RankProcess.Serves", "--gtest_brief=1"};
  std::vector<char*> argument_pointers;
  for (std::string& argument : arguments) argument_pointers.push_back(argument.data());
  argument_pointers.push_back(nullptr);

  Rank& entry = ranks_.emplace_back();
  char path[4096];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof(path) - 1);
  path[std::max<ssize_t>(length, 0)] = '\0';
  const int error =
      ::posix_spawn(&entry.pid, path, &actions, nullptr, argument_pointers.data(), environment_pointers.data());
  ::posix_spawn_file_actions_destroy(&actions);
  for (int fd : {command.read, report.write, output.write, high_command, high_report}) ::close(fd);
  entry.command = command.write;
  entry.report = report.read;
  entry.output = output.read;
  ::fcntl(entry.report, F_SETFL, O_NONBLOCK);
  ::fcntl(entry.output, F_SETFL, O_NONBLOCK);
  if (error != 0) throw std::runtime_error(fmt::format("cannot start rank {}: {}", rank, std::strerror(error)));
}

DistResult RankPool::run(int test, int size, const std::string& prefix, std::chrono::seconds deadline) {
  using Clock = std::chrono::steady_clock;
  const std::string line = fmt::format("{} {} {}\n", test, size, prefix);
  while (static_cast<int>(ranks_.size()) < size) start(static_cast<int>(ranks_.size()));
  active_ = size;
  for (Rank& rank : active()) {
    rank.done = false;
    rank.verdict = 0;
    rank.message.clear();
    rank.output_text.clear();
    if (::write(rank.command, line.data(), line.size()) < 0) usable_ = false;  // its report pipe will say why
  }
  auto end = Clock::now() + deadline;
  bool failing = false;
  while (!all_done() && Clock::now() < end) {
    poll_once(std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()) + std::chrono::milliseconds(1));
    if (!failing && any_failed()) {
      failing = true;
      end = std::min(end, Clock::now() + kLastWords);
    }
  }
  return collect(!all_done() && !failing, deadline);
}

void RankPool::poll_once(std::chrono::milliseconds limit) {
  std::vector<pollfd> waits;
  for (const Rank& rank : active()) {
    waits.push_back({rank.report, POLLIN, 0});
    waits.push_back({rank.output, POLLIN, 0});
  }
  if (::poll(waits.data(), waits.size(), static_cast<int>(limit.count())) <= 0) return;
  for (std::size_t i = 0; i < active().size(); ++i) {
    if (waits[2 * i + 1].revents != 0) drain_output(ranks_[i]);
    if (waits[2 * i].revents != 0) read_report(ranks_[i]);
  }
}

void RankPool::drain_output(Rank& rank) {
  char buffer[4096];
  ssize_t count = 0;
  while ((count = ::read(rank.output, buffer, sizeof(buffer))) > 0) rank.output_text.append(buffer, count);
  if (count == 0) close_fd(rank.output);
}

void RankPool::read_report(Rank& rank) {
  char buffer[4096];
  ssize_t count = 0;
  while ((count = ::read(rank.report, buffer, sizeof(buffer))) > 0) rank.report_text.append(buffer, count);
  while (!rank.report_text.empty()) {
    const char kind = rank.report_text[0];
    if (kind == kDeathAnnounced) {
      rank.death_announced = true;
      rank.report_text.erase(0, 1);
      continue;
    }
    if (rank.report_text.size() < 9) break;
    const std::size_t length = std::stoul(rank.report_text.substr(1, 8), nullptr, 16);
    if (rank.report_text.size() < 9 + length) break;
    rank.verdict = kind;
    rank.message = rank.report_text.substr(9, length);
    rank.report_text.erase(0, 9 + length);
    rank.done = true;
  }
  if (count != 0) return;  // more may come; 0 is the end of a dead process's pipe
  close_fd(rank.report);
  int status = 0;
  ::waitpid(rank.pid, &status, 0);
  rank.pid = -1;
  usable_ = false;
  if (rank.done) return;
  rank.done = true;
  rank.verdict = rank.death_announced ? kPassed : kFailed;
  if (!rank.death_announced) rank.message = describe_end(status);
}

bool RankPool::all_done() const {
  for (const Rank& rank : active()) {
    if (!rank.done) return false;
  }
  return true;
}

bool RankPool::any_failed() const {
  for (const Rank& rank : active()) {
    if (rank.done && rank.verdict == kFailed) return true;
  }
  return false;
}

DistResult RankPool::collect(bool timed_out, std::chrono::seconds deadline) {
  DistResult result;
  result.passed = all_done() && !any_failed();
  if (!result.passed) kill_all();
  result.skipped = result.passed;
  if (timed_out) result.message += fmt::format("not done after {} s; all ranks were killed\n", deadline.count());
  for (std::size_t i = 0; i < active().size(); ++i) {
    Rank& rank = ranks_[i];
    if (rank.output >= 0) drain_output(rank);
    result.skipped = result.skipped && rank.verdict == kSkipped;
    if (!rank.done) result.message += fmt::format("[rank {}] was still running when the test was ended\n", i);
    if (!rank.message.empty()) result.message += prefixed(static_cast<int>(i), rank.message);
    if (!rank.output_text.empty()) result.message += prefixed(static_cast<int>(i), rank.output_text);
  }
  return result;
}

void RankPool::kill_all() {
  usable_ = false;
  for (Rank& rank : ranks_) {
    if (rank.pid > 0) {
      ::kill(rank.pid, SIGKILL);
      ::waitpid(rank.pid, nullptr, 0);
      rank.pid = -1;
    }
    close_fd(rank.command);
    close_fd(rank.report);
    if (rank.output >= 0) drain_output(rank);
    close_fd(rank.output);
  }
}

}  // namespace ringtron::testing

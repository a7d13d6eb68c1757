#include "ringtron/launch/failure_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <string.h>

#include "ringtron/base/check.h"
#include "ringtron/base/text.h"
#include "ringtron/launch/stderr_tail.h"

namespace ringtron {
namespace {

int blame_class(const RankFailure& failure) {
  if (failure.signal != 0) return 0;
  if (is_consequence(failure)) return 4;
  if (!is_unclear(failure)) return 1;
  return failure.words.empty() ? 3 : 2;
}

const char* hint(int signal) {
  switch (signal) {
    case SIGKILL:
      return " (by kill -9, or by the kernel because memory ran out)";
    case SIGSEGV:
    case SIGBUS:
    case SIGABRT:
    case SIGILL:
    case SIGFPE:
      return " (a crash; please report it)";
    default:
      return "";
  }
}

}  // namespace

bool is_consequence(const RankFailure& failure) {
  return failure.signal == 0 && failure.words.find(kCommErrorMark) != std::string::npos;
}

bool is_unclear(const RankFailure& failure) { return failure.signal == 0 && !is_statement(failure.words); }

bool waited_in_vain(const RankFailure& failure) {
  if (!is_consequence(failure)) return false;
  for (const char* mark : {"no rank is known to have died", "imed out", "imeout", "never came", "did not come"}) {
    if (failure.words.find(mark) != std::string::npos) return true;
  }
  return false;
}

std::size_t first_cause(std::span<const RankFailure> failures) {
  RT_CHECK(!failures.empty(), "expected at least one failed rank");
  std::size_t best = 0;
  for (std::size_t i = 1; i < failures.size(); ++i) {
    if (blame_class(failures[i]) < blame_class(failures[best])) best = i;
  }
  return best;
}

std::string describe(const RankFailure& failure) {
  if (failure.signal != 0) {
    return fmt::format("rank {} (pid {}) was killed by {}{}", failure.rank, failure.pid, signal_text(failure.signal),
                       hint(failure.signal));
  }
  return fmt::format("rank {} (pid {}) ended with exit code {}", failure.rank, failure.pid, failure.exit_code);
}

std::vector<std::string> words_of(const RankFailure& failure) {
  std::vector<std::string> lines = split(failure.words, '\n');
  if (failure.words.empty()) return {};
  if (lines.size() == 1) return {"its last line on stderr: " + lines[0]};
  lines.insert(lines.begin(), "its last lines on stderr:");
  return lines;
}

std::string describe_stop(int signal, std::span<const int> ended_of_it, bool killed) {
  const std::string by = "stopped by " + signal_text(signal);
  if (killed) return by + "; ranks that did not end by themselves were killed";
  if (ended_of_it.empty()) return by + "; all ranks ended by themselves, with exit code 0";
  return fmt::format("{}; {} {} ended of it", by, ended_of_it.size() == 1 ? "rank" : "ranks",
                     fmt::join(ended_of_it, ", "));
}

int shell_exit_code(const RankFailure& failure) {
  return failure.signal != 0 ? 128 + failure.signal : failure.exit_code;
}

std::string signal_text(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("signal {}", signal);
}

}  // namespace ringtron

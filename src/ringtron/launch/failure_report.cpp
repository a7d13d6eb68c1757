#include "ringtron/launch/failure_report.h"

#include <fmt/format.h>
#include <signal.h>
#include <string.h>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

// How run_main() announces a CommError.
constexpr const char* kCommErrorMark = ": communication failed: ";

int blame_class(const RankFailure& failure) {
  if (failure.signal != 0) return 0;
  if (is_consequence(failure)) return 3;
  return is_silent(failure) ? 2 : 1;
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
  return failure.signal == 0 && failure.last_line.find(kCommErrorMark) != std::string::npos;
}

bool is_silent(const RankFailure& failure) { return failure.signal == 0 && failure.last_line.empty(); }

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
    return fmt::format("rank {} (pid {}) was killed by {}{}", failure.rank, failure.pid,
                       signal_name(failure.signal), hint(failure.signal));
  }
  return fmt::format("rank {} (pid {}) ended with exit code {}", failure.rank, failure.pid,
                     failure.exit_code);
}

int shell_exit_code(const RankFailure& failure) {
  return failure.signal != 0 ? 128 + failure.signal : failure.exit_code;
}

std::string signal_name(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("signal {}", signal);
}

}  // namespace ringtron

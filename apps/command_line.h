// How our small tools read their command line with CLI11. The training programs do not: docs/decisions/ says
// why.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <time.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/result_line.h"
#include "ringtron/base/text.h"

namespace ringtron {

// What every tool that takes text says about its --input.
inline constexpr const char* kInputHelp =
    "Files, folders, patterns, pipes, or - for standard input; several with commas. JSON lines (*.jsonl, or what begins with "
    "{\"), or plain text, each file one document; .gz, .bz2 and .zst too";

// The arguments in CLI11's order, which is from the back; --a_b is read as --a-b.
inline std::vector<std::string> with_dashes(int argc, char** argv) {
  std::vector<std::string> args(argv + 1, argv + argc);
  for (std::string& arg : args) {
    const auto name = static_cast<std::ptrdiff_t>(std::min(arg.find('='), arg.size()));
    if (arg.starts_with("--")) std::replace(arg.begin(), arg.begin() + name, '_', '-');
  }
  std::reverse(args.begin(), args.end());
  return args;
}

// CLI11's own ranges speak of the limits of their type.
inline CLI::Validator at_least(std::int64_t least) {
  return CLI::Validator(
      [least](const std::string& given) {
        std::int64_t value = 0;
        const bool read = CLI::detail::lexical_cast(given, value);
        return read && value >= least ? std::string()
                                      : fmt::format("expected at least {}, got {}", least, excerpt(given, 60));
      },
      "");
}

// Prints CLI11's --help; throws IoError if that cannot be written.
inline int print_help(const CLI::App& app, const CLI::Success& asked) {
  std::ostringstream text;
  const int code = app.exit(asked, text, text);
  print_result(trim(text.str()));
  return code;
}

// Fills what `app` declares, then runs the tool: run() returns the exit code. --help prints and returns
// without it. Throws ConfigError for a line that the tool does not understand.
template <class Run>
int parse_and_run(CLI::App& app, int argc, char** argv, Run run) {
  try {
    app.parse(with_dashes(argc, argv));
  } catch (const CLI::Success& e) {
    return print_help(app, e);
  } catch (const CLI::ParseError& e) {
    throw ConfigError(excerpt(e.what(), 400) + ". See --help");
  }
  return run();
}

// Set by a signal that asks to end; a signal handler can reach nothing else.
inline std::atomic<bool> interrupted = false;

// When the first such signal came, in ns of the monotonic clock; 0: none.
inline std::atomic<std::int64_t> interrupted_at = 0;
static_assert(std::atomic<std::int64_t>::is_always_lock_free);

// Sets `interrupted`. One that comes a second after the first, or later, ends the process at once. Launchers (timeout,
// Slurm) signal the process and then its group, so that one wish arrives twice.
inline void note_interrupt(int number) {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const std::int64_t at = static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
  std::int64_t first = 0;
  interrupted = true;
  if (interrupted_at.compare_exchange_strong(first, at) || at - first < 1'000'000'000) return;
  std::signal(number, SIG_DFL);
  std::raise(number);
}

// From now on Ctrl-C, SIGTERM and a lost terminal set `interrupted`, so that the tool can tidy up; another one a second
// later ends it at once. A signal that is ignored, as under nohup, stays so. A closed pipe or a file over its limit is
// an error of the write, not a death that leaves files behind.
inline void end_tidily() {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action{}, before{};
    ::sigaction(number, nullptr, &before);
    if (before.sa_handler == SIG_IGN) continue;
    action.sa_handler = note_interrupt;
    ::sigaction(number, &action, nullptr);
  }
  // A file that is opened later must not become standard output.
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) < 0) ::open("/dev/null", O_RDWR);  // the lowest number that is free: this one
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

}  // namespace ringtron

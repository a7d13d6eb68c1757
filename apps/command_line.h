// How our small tools read their command line with CLI11. The training programs do not: docs/decisions/ says
// why.
#pragma once

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <string>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"

namespace ringtron {

// What every tool that takes text says about its --input.
inline constexpr const char* kInputHelp =
    "Files, folders, patterns, pipes, or - for standard input; several with commas. JSON lines (*.jsonl, or what begins with "
    "{\"), or plain text, each file one document; gzip too";

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

// Fills what `app` declares, then runs the tool: run() returns the exit code. --help prints and returns
// without it. Throws ConfigError for a line that the tool does not understand.
template <class Run>
int parse_and_run(CLI::App& app, int argc, char** argv, Run run) {
  try {
    app.parse(with_dashes(argc, argv));
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    throw ConfigError(excerpt(e.what(), 400) + ". See --help");
  }
  return run();
}

// Set by a signal that asks to end; a signal handler can reach nothing else.
inline std::atomic<bool> interrupted = false;

// From now on Ctrl-C, SIGTERM and a lost terminal set `interrupted`, so that the tool can tidy up; the second of a kind ends
// it at once. A signal that is ignored, as under nohup, stays so. A closed pipe or a file over its limit is an error of
// the write, not a death that leaves files behind.
inline void end_tidily() {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action {}, before {};
    ::sigaction(number, nullptr, &before);
    if (before.sa_handler == SIG_IGN) continue;
    action.sa_handler = [](int) { interrupted = true; };
    action.sa_flags = static_cast<int>(SA_RESETHAND);
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

// How our small tools read their command line with CLI11. The training programs do not: docs/decisions/ says
// why.
#pragma once

#include <CLI/CLI.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "ringtron/base/error.h"

namespace ringtron {

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
    throw ConfigError(std::string(e.what()) + ". See --help");
  }
  return run();
}

}  // namespace ringtron

// A command line into a Config.
//
// Flags may be written --a-b or --a_b, values after a blank or after "=". Of a flag given twice the last
// counts. No abbreviations. All faults of a line are collected and reported together, each with its fix.
//
//   const ParseResult result = parse_command_line(arguments(argc, argv), world_size);
//   if (const auto* help = std::get_if<HelpText>(&result)) { print and return kExitOk; }
//   const auto& line = std::get<CommandLine>(result);   // line.config is valid, defaults filled in
//   if (rank == 0) for (const Notice& notice : line.notices) ...
//
// Pure: nothing is printed, no file is opened, the process does not end. Equal arguments give equal results
// on all ranks.
#pragma once

#include <span>
#include <string>
#include <variant>
#include <vector>

#include "ringtron/config/config.h"
#include "ringtron/config/notice.h"

namespace ringtron {

struct CommandLine {
  Config config;
  std::vector<Notice> notices;         // for one rank to print
  std::vector<std::string> set_names;  // "--lr": the options that were given, each once, in order
};

// --help, --help=GROUP, --help=markdown or -h was given: print to stdout and end with exit code 0.
struct HelpText {
  std::string text;
};

using ParseResult = std::variant<CommandLine, HelpText>;

// One fault of one flag.
struct FlagFault {
  std::string flag;     // "--lr", for rules to leave alone what is already reported
  std::string message;  // expected, got, what to do; starts with the flag
};

struct ParsedFlags {
  CommandLine line;
  std::vector<FlagFault> faults;
  bool help = false;
  std::string help_topic;  // of --help=TOPIC
};

// argv without the program's name.
std::vector<std::string> arguments(int argc, const char* const* argv);

// Reads flags only, over `defaults`: no rules between them, nothing derived, nothing thrown.
ParsedFlags parse_flags(std::span<const std::string> arguments, Config defaults = {});

// Flags alone, over `defaults`: Config as written, not validated. Throws ConfigError with all faults.
ParseResult parse(std::span<const std::string> arguments, Config defaults = {});

// What a program calls: parses, checks every rule of validate.h for `world_size` ranks, fills in what follows. The
// vocabulary is still open: resolve() (resolved_config.h) completes it.
// Throws ConfigError with the faults of both, numbered. `defaults`: of flags that are not given.
ParseResult parse_command_line(std::span<const std::string> arguments, int world_size, Config defaults = {});

}  // namespace ringtron

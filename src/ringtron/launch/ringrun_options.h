// ringrun's command line: torchrun's options, then the program and its own arguments.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "ringtron/launch/launch_environment.h"
#include "ringtron/launch/supervisor.h"

namespace ringtron {

struct RingrunCommandLine {
  bool help = false;          // then nothing else counts
  RankCommand command;        // program already found
  SupervisorOptions options;  // addresses, port, threads and notices filled in
};

// `arguments` without the program's own name. Options are read up to the first word that is none; what
// follows the program name is passed on untouched. Both spellings of an option count, --a-b and --a_b, with
// "=" or a blank before the value. ConfigError lists everything that is wrong at once.
RingrunCommandLine parse_ringrun(std::span<const std::string> arguments, const EnvironmentLookup& env);

std::string ringrun_help();

}  // namespace ringtron

// The command line of profile_cp: its own flags and those of pretrain_gpt.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "ringtron/config/parse.h"
#include "ringtron/context_parallel/plan/transport.h"
#include "ringtron/tools/profile/layer_bench.h"

namespace ringtron {

struct ProfileOptions {
  std::string help;  // not empty: --help was given, and `line` is unset
  std::string json_file, trace_file;
  Repeats repeats{3, 20};
  std::vector<CpTransport> transports;  // empty: all
  CommandLine line;
};

// The same on all ranks, for equal arguments. Throws ConfigError.
ProfileOptions parse_profile_options(std::span<const std::string> arguments, int world_size);

}  // namespace ringtron

// One rank as an operating-system process: started with its own process group, its environment and two pipes.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

namespace ringtron {

struct RankCommand {
  std::string program;  // a path; not searched for
  std::vector<std::string> arguments = {};
};

using EnvironmentChanges = std::vector<std::pair<std::string, std::string>>;

struct RankProcess {
  pid_t pid = -1;      // also the number of its process group
  int output_fd = -1;  // reading end of its stdout, non-blocking, the caller's to close
  int error_fd = -1;   // the same of its stderr
};

// Forks and runs `command` with our environment plus `changes`, stdin from /dev/null and no signal blocked.
// The kernel kills it when the calling thread ends, so call from the thread that outlives all ranks, before
// there are others. A program that cannot be run shows as exit code 127 and a line on its stderr. IoError if
// no process can be made.
RankProcess start_rank(const RankCommand& command, const EnvironmentChanges& changes);

}  // namespace ringtron

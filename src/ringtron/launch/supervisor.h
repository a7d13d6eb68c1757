// Starts the ranks of one node, watches them, and says which one failed first and why.
//
// Output: every line of a rank's stdout and stderr goes to ours behind "[rank N] ", and what we have to say to stderr.
// Nobody need read
//   it: what cannot be written is kept up to a bound and counted (OutputQueue), and at the end we wait for it only so
//   long.
// Signals: SIGINT, SIGTERM, SIGHUP and SIGXCPU go to every rank's process group, SIGUSR1 and SIGUSR2 to the ranks
// themselves, once they have a
//   handler: without one these would end a rank that is still starting.
//   After one of the first four the ranks have `stop_grace` to save and end; a second SIGINT kills them.
// Failure: when a rank ends other than with exit code 0, the others get SIGTERM, and SIGKILL after
// `failure_grace`. No process of a rank's group outlives the rank, nor the supervisor, kill -9 of either
// included.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "ringtron/launch/rank_process.h"

namespace ringtron {

struct SupervisorOptions {
  int nodes = 1;
  int node_rank = 0;
  int ranks_per_node = 1;  // the same on all nodes
  std::string master_addr = "127.0.0.1";
  int master_port = 0;
  bool prefix_lines = true;
  EnvironmentChanges environment = {};    // for all ranks, beside RANK and its like
  std::vector<std::string> notices = {};  // what the user should know; said before the first line of a rank
  std::chrono::milliseconds stop_grace = std::chrono::seconds(30);
  std::chrono::milliseconds failure_grace = std::chrono::seconds(3);
};

// What the rank with number `local` on this node finds in its environment.
EnvironmentChanges rank_environment(const SupervisorOptions& options, int local);

// Returns when all ranks have ended: 0 if each ended with 0, otherwise the code of the rank that failed
// first, as a shell would give it (128 + N for signal N; also when the ranks ended of a signal that we passed on).
// While it runs it owns the process's child processes and the signals above; call it from the main thread of a process
// that has no other threads. Throws IoError if a process cannot be made, ConfigError before any is if so many cannot
// run here.
int supervise(const RankCommand& command, const SupervisorOptions& options);

}  // namespace ringtron

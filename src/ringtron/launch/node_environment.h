// What the variables of a scheduler say of the nodes of a run, for a launcher that is started once on each of them:
// Slurm's srun, mpirun, SkyPilot, an indexed job of Kubernetes (JobSet).
#pragma once

#include <optional>
#include <string>

#include "ringtron/launch/launch_environment.h"

namespace ringtron {

struct NodeEnvironment {
  std::string source = {};        // who tells; empty: nobody
  std::optional<int> nodes = {};  // an indexed job has a number for each pod, but not how many there are
  std::optional<int> node_rank = {};
  int sharing = 1;               // how many launchers of this step run on this node; more than 1 is a mistake
  int ranks_per_node = 0;        // 0: not told
  std::string master_addr = {};  // empty: not told
  int master_port = 0;           // 0: not told
  std::string job_token = {};    // as in LaunchEnvironment
  std::string notice = {};       // what may not be as it was meant
};

// RANK, WORLD_SIZE and their like are not read: they are for ranks. ConfigError if two schedulers say different things,
// or one contradicts itself.
NodeEnvironment read_node_environment(const EnvironmentLookup& lookup);

// The variables that tell of several nodes or of several ranks for each node, but of no rank: a program that is started
// directly under them does not know which rank it is. Empty if there are none.
std::string nodes_without_ranks(const EnvironmentLookup& lookup);

}  // namespace ringtron

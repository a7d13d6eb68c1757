// Which rank am I? Read once at start from the variables that the launcher set: ringrun and torchrun, Open
// MPI, MPICH (Hydra), Slurm, or none of them (one process alone). Nothing outside this folder reads the
// environment. The table is in docs/concepts/launch.md.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace ringtron {

enum class Launcher { alone, torchrun, open_mpi, mpich, slurm };

struct LaunchEnvironment {
  Launcher launcher = Launcher::alone;
  int rank = 0;
  int world_size = 1;
  int local_rank = 0;        // among the ranks of this node
  int local_world_size = 1;  // ranks on this node
  int node_rank = 0;
  std::string master_addr = "127.0.0.1";  // where rank 0 listens
  int master_port = 0;                    // 0 only for a process alone
  std::string hint = {};  // what the user has probably forgotten, for when the others do not come; most often empty
  std::string job_token = {};  // the same for all ranks of a run, and for no other run; empty if nothing tells
};

// The value of one variable, or nothing if it is not set.
using EnvironmentLookup = std::function<std::optional<std::string>(const char* name)>;

// A pure function of `lookup`. RANK with WORLD_SIZE count more than what any launcher sets; where they are the
// launcher's own, LOCAL_RANK and LOCAL_WORLD_SIZE may be left to it. job_token is RINGTRON_JOB_TOKEN (ringrun makes
// one), else the launcher's own name of the job. MASTER_ADDR and MASTER_PORT count under every launcher; without them
// Slurm's first host and a port made from its job id, or on one node 127.0.0.1. ConfigError if the variables contradict
// each other, are those of several launchers that say different things, tell of nodes but of no rank (PET_*, SkyPilot),
// one is no number, or one that is needed is missing.
LaunchEnvironment read_launch_environment(const EnvironmentLookup& lookup);

// The same from srun's and mpirun's own variables, without RANK and its like, and without address, port and token.
LaunchEnvironment read_outer_launcher(const EnvironmentLookup& lookup);

// The lookup of this process's own environment.
std::optional<std::string> process_environment(const char* name);

// "node0:29500" -> node0 and 29500. An IPv6 address may stand in brackets, and must before a port: "[::1]:29500",
// "[::1]", "::1".
struct Endpoint {
  std::string host;
  std::string port;  // empty if none is given
};
Endpoint split_endpoint(const std::string& text);

// "[::1]" -> "::1", the form that the system's functions take; anything else as it is.
std::string without_brackets(const std::string& host);

}  // namespace ringtron

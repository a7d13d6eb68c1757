// What Slurm's variables say: the rank of this process, and where rank 0 listens. No scontrol is asked.
#pragma once

#include <string>
#include <vector>

#include "ringtron/launch/environment_reader.h"
#include "ringtron/launch/launch_environment.h"

namespace ringtron {

// Whether srun has started this process. The batch script itself and the shell of salloc are steps, too, but have one
// process only.
bool is_step_of_srun(const EnvironmentReader& env);

// Rank, sizes and node, without address, port and token; launcher `alone` in a batch script without --ntasks. Variables
// of the step count more than those of the job. ConfigError if variables contradict each other.
LaunchEnvironment read_slurm(const EnvironmentReader& env);

// The first node of the step, or of the job; empty if Slurm names none.
std::string slurm_master_addr(const EnvironmentReader& env);

// A port made from job and step, so that those that run at the same time do not meet. Below Linux's range for outgoing
// connections (32768 and up), where a port may be taken at any time.
int slurm_master_port(const EnvironmentReader& env);

// The same for all ranks of a step, and for no other step.
std::string slurm_job_token(const EnvironmentReader& env);

// The hosts of a list, in its order: "gpu[01-03,7]-x,cpu1" -> gpu01-x, gpu02-x, gpu03-x, gpu7-x, cpu1. Of several
// brackets the last counts fastest. ConfigError for a list that cannot be read, or of more than a million hosts.
std::vector<std::string> expand_slurm_nodes(const std::string& node_list);

}  // namespace ringtron

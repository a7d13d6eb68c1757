// A table of launchers with the variables that each really sets, mixtures of them, and what a rank takes them for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "ringtron/base/error.h"
#include "ringtron/launch/launch_environment.h"

namespace ringtron {
namespace {

using Variables = std::map<std::string, std::string>;

// Later ones replace earlier ones; "-" removes.
Variables merged(std::initializer_list<Variables> all) {
  Variables out;
  for (const Variables& variables : all) {
    for (const auto& [name, value] : variables) out[name] = value;
  }
  std::erase_if(out, [](const auto& entry) { return entry.second == "-"; });
  return out;
}

std::string outcome(const Variables& variables) {
  try {
    const LaunchEnvironment out = read_launch_environment([&](const char* name) -> std::optional<std::string> {
      const auto found = variables.find(name);
      return found == variables.end() ? std::nullopt : std::optional(found->second);
    });
    return std::to_string(out.rank) + "/" + std::to_string(out.world_size) + " local " +
           std::to_string(out.local_rank) + "/" + std::to_string(out.local_world_size) + " node " +
           std::to_string(out.node_rank) + " " + out.master_addr + ":" + std::to_string(out.master_port);
  } catch (const ConfigError& e) {
    return e.what();
  }
}

const Variables kAddress = {{"MASTER_ADDR", "node0"}, {"MASTER_PORT", "4711"}};
const Variables kPlain = {
    {"RANK", "5"}, {"WORLD_SIZE", "8"}, {"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "4"}, {"MASTER_ADDR", "node0"}};
const Variables kTorchrun = merged({kPlain,
                                    {{"GROUP_RANK", "1"},
                                     {"ROLE_RANK", "5"},
                                     {"ROLE_WORLD_SIZE", "8"},
                                     {"ROLE_NAME", "default"},
                                     {"GROUP_WORLD_SIZE", "2"},
                                     {"TORCHELASTIC_RUN_ID", "none"},
                                     {"TORCHELASTIC_RESTART_COUNT", "0"},
                                     {"TORCHELASTIC_MAX_RESTARTS", "0"},
                                     {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                                     {"MASTER_PORT", "29500"}}});
const Variables kOpenMpi = {{"OMPI_COMM_WORLD_RANK", "5"},
                            {"OMPI_COMM_WORLD_SIZE", "8"},
                            {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                            {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
                            {"OMPI_COMM_WORLD_NODE_RANK", "1"},
                            {"OMPI_UNIVERSE_SIZE", "8"},
                            {"PMIX_RANK", "5"},
                            {"PMIX_NAMESPACE", "prterun-login-77@1"}};
const Variables kHydra = {{"PMI_RANK", "5"},
                          {"PMI_SIZE", "8"},
                          {"MPI_LOCALRANKID", "1"},
                          {"MPI_LOCALNRANKS", "4"},
                          {"PMI_FD", "9"},
                          {"HYDI_CONTROL_FD", "7"},
                          {"GFORTRAN_UNBUFFERED_PRECONNECTED", "y"}};
const Variables kSrun = {{"SLURM_PROCID", "5"},
                         {"SLURM_LOCALID", "1"},
                         {"SLURM_NODEID", "1"},
                         {"SLURM_NTASKS", "8"},
                         {"SLURM_NNODES", "2"},
                         {"SLURM_JOB_ID", "90017"},
                         {"SLURM_JOBID", "90017"},
                         {"SLURM_STEP_ID", "2"},
                         {"SLURM_STEP_NUM_TASKS", "8"},
                         {"SLURM_STEP_NUM_NODES", "2"},
                         {"SLURM_STEP_TASKS_PER_NODE", "4(x2)"},
                         {"SLURM_STEP_NODELIST", "gpu[003-004]"},
                         {"SLURM_JOB_NODELIST", "gpu[003-010]"},
                         {"PMI_RANK", "5"},
                         {"PMI_SIZE", "8"}};
const Variables kSbatch = {{"SLURM_PROCID", "0"},  {"SLURM_LOCALID", "0"},        {"SLURM_NODEID", "0"},
                           {"SLURM_NTASKS", "1"},  {"SLURM_TASKS_PER_NODE", "1"}, {"SLURM_JOB_NODELIST", "gpu003"},
                           {"SLURM_JOB_ID", "17"}, {"SLURM_JOB_NUM_NODES", "1"},  {"SLURM_NNODES", "1"}};
// The daemons of mpirun are a step of one task for each node.
const Variables kDaemon = merged({kSrun,
                                  {{"SLURM_PROCID", "1"},
                                   {"SLURM_LOCALID", "0"},
                                   {"SLURM_STEP_NUM_TASKS", "2"},
                                   {"SLURM_NTASKS", "2"},
                                   {"SLURM_STEP_TASKS_PER_NODE", "1(x2)"},
                                   {"PMI_RANK", "-"},
                                   {"PMI_SIZE", "-"}}});
const Variables kTrainJob = {{"PET_NNODES", "2"},          {"PET_NPROC_PER_NODE", "8"},
                             {"PET_NODE_RANK", "1"},       {"PET_MASTER_ADDR", "gpt-node-0-0.gpt"},
                             {"PET_MASTER_PORT", "29400"}, {"JOB_COMPLETION_INDEX", "1"}};
const Variables kSkyPilot = {{"SKYPILOT_NODE_RANK", "1"},
                             {"SKYPILOT_NUM_NODES", "2"},
                             {"SKYPILOT_NODE_IPS", "10.0.0.1\n10.0.0.2"},
                             {"SKYPILOT_NUM_GPUS_PER_NODE", "8"},
                             {"SKYPILOT_TASK_ID", "sky-2026-11-30-1"}};
// A job on Ray or in a batch script that was sent from inside another run inherits what that had.
const Variables kOneOfMpi = {{"OMPI_COMM_WORLD_RANK", "0"},
                             {"OMPI_COMM_WORLD_SIZE", "1"},
                             {"OMPI_COMM_WORLD_LOCAL_RANK", "0"},
                             {"OMPI_COMM_WORLD_LOCAL_SIZE", "1"}};

struct Case {
  const char* name;
  Variables variables;
  std::string expected;  // the outcome, or a part of the complaint
};

const std::string kPort = std::to_string(20000 + (90017 + 2) % 12000);

const std::vector<Case> kCases = {
    {"nothing", {}, "0/1 local 0/1 node 0 127.0.0.1:0"},
    {"by hand", merged({kPlain, {{"MASTER_PORT", "4711"}}}), "5/8 local 1/4 node 1 node0:4711"},
    {"torchrun", kTorchrun, "5/8 local 1/4 node 1 node0:29500"},
    {"Open MPI", merged({kOpenMpi, kAddress}), "5/8 local 1/4 node 1 node0:4711"},
    {"Open MPI without an address", kOpenMpi, "MASTER_ADDR: expected the address of rank 0's node"},
    {"Hydra", merged({kHydra, kAddress}), "5/8 local 1/4 node 1 node0:4711"},
    {"srun", kSrun, "5/8 local 1/4 node 1 gpu003:" + kPort},
    {"srun, address given", merged({kSrun, kAddress}), "5/8 local 1/4 node 1 node0:4711"},
    {"batch script", kSbatch, "0/1 local 0/1 node 0 127.0.0.1:0"},
    {"index of a pod alone", {{"JOB_COMPLETION_INDEX", "3"}}, "0/1 local 0/1 node 0 127.0.0.1:0"},
    // Several sets of which one is meant.
    {"ringrun under srun", merged({kDaemon, kTorchrun}), "5/8 local 1/4 node 1 node0:29500"},
    {"Open MPI in a Slurm job", merged({kDaemon, kOpenMpi, kAddress}), "5/8 local 1/4 node 1 node0:4711"},
    {"Hydra in a Slurm job", merged({kDaemon, kHydra, kAddress}), "5/8 local 1/4 node 1 node0:4711"},
    {"ringrun under SkyPilot", merged({kSkyPilot, kTorchrun}), "5/8 local 1/4 node 1 node0:29500"},
    {"ringrun in a pod", merged({kTrainJob, kTorchrun}), "5/8 local 1/4 node 1 node0:29500"},
    {"Ray on Slurm: RANK wins", merged({kSbatch, kTorchrun}), "5/8 local 1/4 node 1 node0:29500"},
    {"Ray started from mpirun: RANK wins", merged({kOneOfMpi, kTorchrun}), "5/8 local 1/4 node 1 node0:29500"},
    {"one process by hand in a step", merged({kSrun, {{"RANK", "0"}, {"WORLD_SIZE", "1"}}}),
     "0/1 local 0/1 node 0 127.0.0.1:0"},
    {"RANK from SLURM_PROCID", merged({kSrun, {{"RANK", "5"}, {"WORLD_SIZE", "8"}, {"LOCAL_RANK", "1"}}}),
     "5/8 local 1/4 node 1 gpu003:" + kPort},
    {"WORLD_SIZE that agrees", merged({kSrun, {{"WORLD_SIZE", "8"}}}), "5/8 local 1/4 node 1 gpu003:" + kPort},
    // Sets of which nobody knows which is meant.
    {"one rank of mpirun in a step of many", merged({kSrun, kOneOfMpi}),
     "two launchers have left variables: this is rank 0 of 1 by Open MPI, but rank 5 of 8 by Slurm"},
    {"two kinds of mpirun", merged({kOneOfMpi, kHydra}), "rank 0 of 1 by Open MPI, but rank 5 of 8 by MPICH's mpiexec"},
    {"WORLD_SIZE that differs", merged({kSrun, {{"WORLD_SIZE", "4"}}}),
     "environment variable WORLD_SIZE is 4, but rank 5 of 8 by Slurm is 8 and RANK is not set"},
    {"LOCAL_RANK left over", merged({kSrun, {{"LOCAL_RANK", "0"}}}), "LOCAL_RANK is 0"},
    {"WORLD_SIZE without RANK",
     {{"WORLD_SIZE", "4"}},
     "environment variable RANK: expected a number because WORLD_SIZE"},
    {"RANK and WORLD_SIZE of a PyTorchJob", merged({kAddress, {{"RANK", "1"}, {"WORLD_SIZE", "2"}}}),
     "with one rank on each host set LOCAL_RANK=0 and LOCAL_WORLD_SIZE=1"},
    {"RANK that is not Slurm's", merged({kSrun, {{"RANK", "4"}, {"WORLD_SIZE", "8"}}}),
     "LOCAL_RANK: expected a number"},
    {"TrainJob without ringrun", kTrainJob, "PET_NNODES=2, PET_NPROC_PER_NODE=8 tell of several ranks"},
    {"elastic TrainJob", {{"PET_NNODES", "1:4"}}, "PET_NNODES=1:4 tell of several ranks"},
    {"SkyPilot without ringrun", kSkyPilot, "SKYPILOT_NUM_NODES=2 tell of several ranks"},
    {"a batch script in a TrainJob", merged({kSbatch, kTrainJob}), "start the program through ringrun"},
    {"PET_ of one rank", {{"PET_NNODES", "1"}, {"PET_NPROC_PER_NODE", "1"}}, "0/1 local 0/1 node 0 127.0.0.1:0"},
};

TEST(LauncherTable, EachRow) {
  for (const Case& row : kCases) {
    const std::string got = outcome(row.variables);
    const bool settled = row.expected.find(" local ") != std::string::npos;
    if (settled) {
      EXPECT_EQ(got, row.expected) << row.name;
    } else {
      EXPECT_THAT(got, testing::HasSubstr(row.expected)) << row.name;
    }
  }
}

// Without the variables of its launcher a row is another one, or refused: none passes for what is not read.
TEST(LauncherTable, EachLauncherIsRead) {
  for (const Variables& launcher : {kTorchrun, kOpenMpi, kHydra, kSrun}) {
    Variables moved = merged({launcher, kAddress});
    for (const char* name : {"RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"}) {
      if (moved.contains(name)) moved[name] = "6";
    }
    EXPECT_THAT(outcome(moved), testing::StartsWith("6/8"));
  }
}

TEST(LauncherTable, LoopbackOverNodesIsHintedAt) {
  const auto hint = [](const Variables& variables) {
    return read_launch_environment([&](const char* name) -> std::optional<std::string> {
             const auto found = variables.find(name);
             return found == variables.end() ? std::nullopt : std::optional(found->second);
           })
        .hint;
  };
  EXPECT_THAT(hint(merged({kSrun, {{"MASTER_ADDR", "localhost"}}})), testing::HasSubstr("MASTER_ADDR is localhost"));
  EXPECT_THAT(hint(merged({kTorchrun, {{"MASTER_ADDR", "127.0.0.1"}}})), testing::HasSubstr("several nodes"));
  EXPECT_EQ(hint(kSrun), "");
  EXPECT_EQ(hint(merged({kTorchrun, {{"LOCAL_WORLD_SIZE", "8"}, {"MASTER_ADDR", "localhost"}}})), "");
}

}  // namespace
}  // namespace ringtron

// ringrun on several nodes without --node-rank: what schedulers' variables tell it, and which it refuses.
#include "ringtron/launch/node_environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "ringtron/base/error.h"
#include "ringtron/launch/ringrun_options.h"

namespace ringtron {
namespace {

using Variables = std::map<std::string, std::string>;
using Words = std::vector<std::string>;

Variables with(Variables variables, const Variables& more) {
  for (const auto& [name, value] : more) variables[name] = value;
  return variables;
}

std::string outcome(Words words, Variables variables) {
  words.push_back("sh");
  variables["PATH"] = "/usr/bin:/bin";
  variables["OMP_NUM_THREADS"] = "1";
  const EnvironmentLookup lookup = [&](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
  try {
    const SupervisorOptions options = parse_ringrun(words, lookup).options;
    std::string token;
    for (const auto& [name, value] : options.environment) {
      if (name == "RINGTRON_JOB_TOKEN" && options.nodes > 1) token = value;
    }
    std::string text = std::to_string(options.node_rank) + "/" + std::to_string(options.nodes) + " of " +
                       std::to_string(options.ranks_per_node) + " " + options.master_addr;
    if (options.nodes > 1) text += ":" + std::to_string(options.master_port) + " " + token;
    for (const std::string& notice : options.notices) text += "; " + notice;
    return text;
  } catch (const ConfigError& e) {
    return e.what();
  }
}

const Variables kSrun = {{"SLURM_PROCID", "1"},
                         {"SLURM_LOCALID", "0"},
                         {"SLURM_NODEID", "1"},
                         {"SLURM_NTASKS", "2"},
                         {"SLURM_JOB_ID", "41"},
                         {"SLURM_STEP_ID", "0"},
                         {"SLURM_STEP_NUM_TASKS", "2"},
                         {"SLURM_STEP_TASKS_PER_NODE", "1(x2)"},
                         {"SLURM_STEP_NODELIST", "gpu[01-02]"}};
const Variables kShared = with(kSrun, {{"SLURM_LOCALID", "1"},
                                       {"SLURM_STEP_NUM_TASKS", "16"},
                                       {"SLURM_NTASKS", "16"},
                                       {"SLURM_PROCID", "9"},
                                       {"SLURM_STEP_TASKS_PER_NODE", "8(x2)"}});
const Variables kTrainJob = {{"PET_NNODES", "2"},          {"PET_NPROC_PER_NODE", "3"},
                             {"PET_NODE_RANK", "1"},       {"PET_MASTER_ADDR", "gpt-node-0-0.gpt"},
                             {"PET_MASTER_PORT", "29400"}, {"JOB_COMPLETION_INDEX", "1"}};
const Variables kSkyPilot = {{"SKYPILOT_NODE_RANK", "1"},
                             {"SKYPILOT_NUM_NODES", "2"},
                             {"SKYPILOT_NODE_IPS", "10.0.0.1\n10.0.0.2\n"},
                             {"SKYPILOT_NUM_GPUS_PER_NODE", "8"},
                             {"SKYPILOT_TASK_ID", "sky-1"}};
const std::string kSlurmLine = "; Slurm: this is node 1 of 2; rank 0 listens at gpu01, port 20041";

TEST(NodeEnvironment, Slurm) {
  EXPECT_EQ(outcome({"--nproc-per-node=8"}, kSrun), "1/2 of 8 gpu01:20041 slurm 41.0" + kSlurmLine);
  // The document's line: --nnodes, --master-addr and --master-port, but no --node-rank.
  EXPECT_THAT(outcome({"--nnodes=2", "--master_addr=gpu01", "--master_port=6000"}, kSrun),
              testing::StartsWith("1/2 of 1 gpu01:6000"));
  EXPECT_THAT(outcome({}, with(kSrun, {{"MASTER_ADDR", "n"}, {"MASTER_PORT", "6000"}})),
              testing::StartsWith("1/2 of 1 n:6000"));
  EXPECT_EQ(outcome({"--standalone"}, kSrun), "0/1 of 1 127.0.0.1");
  EXPECT_EQ(outcome({"--nnodes=4", "--node-rank=3", "--master-addr=a"}, kSrun), "3/4 of 1 a:29500 slurm 41.0");
  EXPECT_THAT(outcome({"--nnodes=4"}, kSrun),
              testing::HasSubstr("--nnodes is 4, but Slurm has started ringrun on 2 nodes"));
}

TEST(NodeEnvironment, SeveralOnOneNodeAreRefused) {
  for (const Words& words :
       {Words{}, Words{"--nnodes=2"}, Words{"--nnodes=2", "--node-rank=1", "--master-addr=gpu01"}}) {
    EXPECT_THAT(outcome(words, kShared), testing::HasSubstr("8 ringrun of one step share this node"));
  }
  EXPECT_THAT(outcome({"--standalone"}, kShared), testing::StartsWith("0/1"));
  EXPECT_THAT(outcome({}, {{"OMPI_COMM_WORLD_RANK", "1"},
                           {"OMPI_COMM_WORLD_SIZE", "4"},
                           {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                           {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}}),
              testing::HasSubstr("4 ringrun of one step share this node"));
}

TEST(NodeEnvironment, BatchScriptOfSeveralNodes) {
  const Variables batch = {{"SLURM_PROCID", "0"},
                           {"SLURM_LOCALID", "0"},
                           {"SLURM_NODEID", "0"},
                           {"SLURM_NTASKS", "4"},
                           {"SLURM_JOB_NUM_NODES", "4"},
                           {"SLURM_JOB_ID", "41"},
                           {"SLURM_TASKS_PER_NODE", "1(x4)"}};
  EXPECT_THAT(outcome({}, batch), testing::AllOf(testing::StartsWith("0/1 of 1 127.0.0.1; this job has 4 nodes"),
                                                 testing::HasSubstr("srun --ntasks-per-node=1 ringrun")));
}

TEST(NodeEnvironment, MpirunOncePerNode) {
  const Variables mpi = {{"OMPI_COMM_WORLD_RANK", "1"},
                         {"OMPI_COMM_WORLD_SIZE", "2"},
                         {"OMPI_COMM_WORLD_LOCAL_RANK", "0"},
                         {"OMPI_COMM_WORLD_LOCAL_SIZE", "1"}};
  EXPECT_THAT(outcome({}, with(mpi, {{"MASTER_ADDR", "n0"}})), testing::StartsWith("1/2 of 1 n0:29500"));
  EXPECT_THAT(outcome({}, mpi), testing::HasSubstr("--master-addr: needed because there are 2 nodes"));
}

TEST(NodeEnvironment, KubeflowAndJobSet) {
  EXPECT_EQ(outcome({}, kTrainJob), "1/2 of 3 gpt-node-0-0.gpt:29400 ");
  EXPECT_EQ(outcome({"--nproc-per-node=5", "--rdzv-id=r"}, kTrainJob), "1/2 of 5 gpt-node-0-0.gpt:29400 r");
  EXPECT_EQ(outcome({}, with(kTrainJob, {{"PET_NNODES", "2:2"}})), "1/2 of 3 gpt-node-0-0.gpt:29400 ");
  EXPECT_THAT(outcome({}, with(kTrainJob, {{"PET_NNODES", "1:4"}})),
              testing::HasSubstr("PET_NNODES: expected a whole number from 1 to 1000000, got \"1:4\""));
  EXPECT_THAT(outcome({"--nnodes=4"}, kTrainJob), testing::HasSubstr("--nnodes is 4, but PET_NNODES 2"));
  // Slurm's node rank completes PET_NNODES, if the numbers agree.
  EXPECT_THAT(outcome({}, with(kSrun, {{"PET_NNODES", "2"}})), testing::StartsWith("1/2 of 1 gpu01"));
  EXPECT_THAT(outcome({}, with(kSrun, {{"PET_NNODES", "3"}})),
              testing::HasSubstr("PET_NNODES is 3, but Slurm has started ringrun on 2 nodes"));
  const Variables pod = {{"JOB_COMPLETION_INDEX", "3"}, {"MASTER_ADDR", "gpt-workers-0-0.gpt"}};
  EXPECT_THAT(outcome({"--nnodes=4"}, pod), testing::StartsWith("3/4 of 1 gpt-workers-0-0.gpt:29500"));
  EXPECT_THAT(outcome({"--nnodes=3"}, pod), testing::HasSubstr("has number 3 for this node, but there are 3"));
  EXPECT_EQ(outcome({}, pod), "0/1 of 1 127.0.0.1");  // one of many runs of one pod each
}

TEST(NodeEnvironment, SkyPilot) {
  EXPECT_EQ(outcome({}, kSkyPilot),
            "1/2 of 8 10.0.0.1:29500 sky-1; SkyPilot: this is node 1 of 2; rank 0 listens at 10.0.0.1, port 29500");
  EXPECT_THAT(outcome({}, with(kSkyPilot, {{"SKYPILOT_NUM_NODES", "3"}})),
              testing::HasSubstr("SKYPILOT_NUM_NODES is 3, SKYPILOT_NODE_IPS has 2 lines"));
  EXPECT_THAT(
      outcome({}, with(kSkyPilot, with(kSrun, {{"SLURM_PROCID", "0"}}))),
      testing::HasSubstr("two schedulers have left variables: Slurm says node 0 of 2, but SkyPilot says node 1 of 2"));
}

TEST(NodeEnvironment, NobodyTells) {
  EXPECT_THAT(outcome({"--nnodes=2", "--master-addr=a"}, {}), testing::HasSubstr("--node-rank: needed"));
  EXPECT_EQ(outcome({}, {{"RANK", "5"}, {"WORLD_SIZE", "8"}, {"MASTER_ADDR", "x"}}), "0/1 of 1 127.0.0.1");
}

}  // namespace
}  // namespace ringtron

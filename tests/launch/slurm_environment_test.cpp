// Slurm's lists of nodes, as scontrol show hostnames expands them, and variables of a step that contradict each other.
#include "ringtron/launch/slurm_environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

using Variables = std::map<std::string, std::string>;
using Hosts = std::vector<std::string>;

TEST(SlurmEnvironment, NodeLists) {
  EXPECT_EQ(expand_slurm_nodes("gpu7"), Hosts({"gpu7"}));
  EXPECT_EQ(expand_slurm_nodes("b,a"), Hosts({"b", "a"}));
  EXPECT_EQ(expand_slurm_nodes("gpu[01-03,7]-x"), Hosts({"gpu01-x", "gpu02-x", "gpu03-x", "gpu7-x"}));
  EXPECT_EQ(expand_slurm_nodes("gpu[003-006,9],cpu1"), Hosts({"gpu003", "gpu004", "gpu005", "gpu006", "gpu9", "cpu1"}));
  EXPECT_EQ(expand_slurm_nodes("a1,gpu[9-11]"), Hosts({"a1", "gpu9", "gpu10", "gpu11"}));
  EXPECT_EQ(expand_slurm_nodes("n[2,5-6].cluster.org"), Hosts({"n2.cluster.org", "n5.cluster.org", "n6.cluster.org"}));
  EXPECT_EQ(expand_slurm_nodes("rack[1-2]node[04-05],x"),
            Hosts({"rack1node04", "rack1node05", "rack2node04", "rack2node05", "x"}));
  EXPECT_EQ(expand_slurm_nodes("[1-2]"), Hosts({"1", "2"}));
  EXPECT_EQ(expand_slurm_nodes("n[08-12]").size(), 5u);
  EXPECT_EQ(expand_slurm_nodes("n[1-1000000]").back(), "n1000000");
}

TEST(SlurmEnvironment, BadNodeLists) {
  for (const char* text : {"gpu[1-2", "gpu[3-1]", "gpu[a-b]", "gpu[]", "gpu[1,]", "", "a,,b", "a,", "n[1-1000001]",
                           "n[1-9999]m[1-9999]", "n[1-99999999999999999999]"}) {
    EXPECT_THROW(expand_slurm_nodes(text), ConfigError) << text;
  }
}

// What srun of Slurm 22.05 and later sets for task 2 of 4 on two nodes.
const Variables kStep = {{"SLURM_PROCID", "2"},
                         {"SLURM_LOCALID", "0"},
                         {"SLURM_NODEID", "1"},
                         {"SLURM_NTASKS", "4"},
                         {"SLURM_NPROCS", "4"},
                         {"SLURM_NNODES", "2"},
                         {"SLURM_JOB_NUM_NODES", "2"},
                         {"SLURM_JOB_ID", "41"},
                         {"SLURM_JOBID", "41"},
                         {"SLURM_STEP_ID", "0"},
                         {"SLURM_STEPID", "0"},
                         {"SLURM_STEP_NUM_TASKS", "4"},
                         {"SLURM_STEP_NUM_NODES", "2"},
                         {"SLURM_STEP_TASKS_PER_NODE", "2(x2)"},
                         {"SLURM_TASKS_PER_NODE", "2(x2)"},
                         {"SLURM_STEP_NODELIST", "gpu[01-02]"},
                         {"SLURM_NODELIST", "gpu[01-02]"},
                         {"SLURM_JOB_NODELIST", "gpu[01-02]"},
                         {"SLURM_GTIDS", "2,3"},
                         {"SLURM_LAUNCH_NODE_IPADDR", "10.0.0.1"}};

std::string outcome(const Variables& changes) {
  Variables variables = kStep;
  for (const auto& [name, value] : changes) variables[name] = value;
  const auto lookup = [&](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() || found->second == "-" ? std::nullopt : std::optional(found->second);
  };
  try {
    const EnvironmentLookup look = lookup;
    const LaunchEnvironment out = read_slurm(EnvironmentReader(look));
    return std::to_string(out.rank) + " of " + std::to_string(out.world_size) + ", " + std::to_string(out.local_rank) +
           " of " + std::to_string(out.local_world_size) + " on " + std::to_string(out.node_rank);
  } catch (const ConfigError& e) {
    return e.what();
  }
}

TEST(SlurmEnvironment, Steps) {
  EXPECT_EQ(outcome({}), "2 of 4, 0 of 2 on 1");
  EXPECT_EQ(outcome({{"SLURM_STEP_TASKS_PER_NODE", "1,3"}}), "2 of 4, 0 of 3 on 1");
  // The step counts more than the job: srun -n 4 in an allocation of 8 nodes.
  EXPECT_EQ(outcome({{"SLURM_NTASKS", "64"}, {"SLURM_TASKS_PER_NODE", "8(x8)"}, {"SLURM_JOB_NODELIST", "gpu[01-08]"}}),
            "2 of 4, 0 of 2 on 1");
}

TEST(SlurmEnvironment, Contradictions) {
  const auto contradict = [](const std::string& rest) {
    return testing::AllOf(testing::HasSubstr("Slurm's variables contradict each other: " + rest),
                          testing::HasSubstr("env -u"));
  };
  EXPECT_THAT(outcome({{"SLURM_STEP_NUM_TASKS", "8"}}),
              contradict("the step has 8 tasks, SLURM_STEP_TASKS_PER_NODE gives 4"));
  EXPECT_THAT(outcome({{"SLURM_STEP_TASKS_PER_NODE", "4"}}),
              contradict("SLURM_NODEID is 1, SLURM_STEP_TASKS_PER_NODE has 1 nodes"));
  EXPECT_THAT(outcome({{"SLURM_STEP_NODELIST", "gpu[01-03]"}}),
              contradict("SLURM_STEP_NODELIST names 3 nodes, SLURM_STEP_TASKS_PER_NODE 2"));
  EXPECT_THAT(outcome({{"SLURM_JOBID", "40"}}), contradict("SLURM_JOB_ID is 41, SLURM_JOBID 40"));
  EXPECT_THAT(outcome({{"SLURM_NODEID", "2"}}), contradict("SLURM_NODEID is 2"));
  EXPECT_THAT(outcome({{"SLURM_STEP_TASKS_PER_NODE", "2(x9999999)"}}), testing::HasSubstr("contradict"));
  EXPECT_THAT(outcome({{"SLURM_STEP_TASKS_PER_NODE", "two"}}), testing::HasSubstr("SLURM_STEP_TASKS_PER_NODE"));
  EXPECT_THAT(outcome({{"SLURM_LOCALID", "-"}}), testing::HasSubstr("SLURM_LOCALID"));
}

}  // namespace
}  // namespace ringtron

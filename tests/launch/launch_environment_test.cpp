// The variables of each launcher, as those launchers set them, and environments that make no sense.
#include "ringtron/launch/launch_environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

using Variables = std::map<std::string, std::string>;

LaunchEnvironment read(const Variables& variables) {
  return read_launch_environment([&](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  });
}

std::string complaint(const Variables& variables) {
  try {
    read(variables);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "no complaint";
}

const Variables kTorchrun = {{"RANK", "5"},
                             {"WORLD_SIZE", "8"},
                             {"LOCAL_RANK", "1"},
                             {"LOCAL_WORLD_SIZE", "4"},
                             {"MASTER_ADDR", "node0"},
                             {"MASTER_PORT", "4711"}};

const Variables kSlurm = {{"SLURM_PROCID", "5"},
                          {"SLURM_NTASKS", "11"},
                          {"SLURM_LOCALID", "1"},
                          {"SLURM_NODEID", "1"},
                          {"SLURM_JOB_ID", "90017"},
                          {"SLURM_TASKS_PER_NODE", "4(x2),3"},
                          {"SLURM_NODELIST", "gpu[003-004,9]"}};

Variables with(Variables variables, const std::string& name, const std::string& value) {
  variables[name] = value;
  return variables;
}

Variables without(Variables variables, const std::string& name) {
  variables.erase(name);
  return variables;
}

TEST(LaunchEnvironment, Alone) {
  const LaunchEnvironment env = read({});
  EXPECT_EQ(env.launcher, Launcher::alone);
  EXPECT_EQ(env.rank, 0);
  EXPECT_EQ(env.world_size, 1);
  EXPECT_EQ(env.local_world_size, 1);
}

TEST(LaunchEnvironment, Torchrun) {
  const LaunchEnvironment env = read(kTorchrun);
  EXPECT_EQ(env.launcher, Launcher::torchrun);
  EXPECT_EQ(env.rank, 5);
  EXPECT_EQ(env.world_size, 8);
  EXPECT_EQ(env.local_rank, 1);
  EXPECT_EQ(env.local_world_size, 4);
  EXPECT_EQ(env.node_rank, 1);
  EXPECT_EQ(env.master_addr, "node0");
  EXPECT_EQ(env.master_port, 4711);
  EXPECT_EQ(read(with(kTorchrun, "GROUP_RANK", "3")).node_rank, 3);
  EXPECT_EQ(read({{"RANK", "0"}, {"WORLD_SIZE", "1"}}).world_size, 1);
}

TEST(LaunchEnvironment, Slurm) {
  const LaunchEnvironment env = read(kSlurm);
  EXPECT_EQ(env.launcher, Launcher::slurm);
  EXPECT_EQ(env.rank, 5);
  EXPECT_EQ(env.world_size, 11);
  EXPECT_EQ(env.local_rank, 1);
  EXPECT_EQ(env.local_world_size, 4);
  EXPECT_EQ(env.node_rank, 1);
  EXPECT_EQ(env.master_addr, "gpu003");
  EXPECT_EQ(env.master_port, 20000 + 90017 % 12000);
  EXPECT_EQ(read(with(kSlurm, "MASTER_ADDR", "other")).master_addr, "other");
  EXPECT_NE(read(with(kSlurm, "SLURM_STEP_ID", "1")).master_port, env.master_port);
  EXPECT_EQ(read(with(kSlurm, "SLURM_STEP_NUM_TASKS", "9")).world_size, 9);
}

// What the shell of a batch script has: rank 0 of many, and no step.
TEST(LaunchEnvironment, ForgottenSrunIsHintedAt) {
  const Variables batch = with(with(kSlurm, "SLURM_PROCID", "0"), "SLURM_LOCALID", "0");
  EXPECT_THAT(read(batch).hint, testing::HasSubstr("start the program with srun"));
  EXPECT_THAT(read(with(batch, "SLURM_STEP_ID", "4294967291")).hint,
              testing::HasSubstr("srun"));  // some versions number it
  EXPECT_THAT(read(with(batch, "SLURM_STEP_ID", "4294967290")).hint,
              testing::HasSubstr("srun"));  // the shell of salloc
  EXPECT_EQ(read(with(batch, "SLURM_STEP_ID", "0")).hint, "");
  EXPECT_EQ(read(with(batch, "SLURM_STEP_NUM_TASKS", "11")).hint, "");
  EXPECT_EQ(read(kSlurm).hint, "");  // rank 5 is no batch script
  EXPECT_EQ(read(with(with(with(batch, "SLURM_NTASKS", "1"), "SLURM_TASKS_PER_NODE", "1"), "SLURM_NODEID", "0")).hint,
            "");
  EXPECT_EQ(read(kTorchrun).hint, "");
}

// A batch script without --ntasks.
TEST(LaunchEnvironment, BatchScriptWithoutTasksIsOneProcess) {
  const LaunchEnvironment env = read({{"SLURM_PROCID", "0"}, {"SLURM_LOCALID", "0"}, {"SLURM_JOB_ID", "7"}});
  EXPECT_EQ(env.launcher, Launcher::alone);
  EXPECT_EQ(env.world_size, 1);
}

TEST(LaunchEnvironment, AddressesOfIpv6) {
  EXPECT_EQ(read(with(kTorchrun, "MASTER_ADDR", "::1")).master_addr, "::1");
  EXPECT_EQ(read(with(kTorchrun, "MASTER_ADDR", "[::1]")).master_addr, "::1");
  EXPECT_EQ(read(with(kTorchrun, "MASTER_ADDR", "fe80::1%eth0")).master_addr, "fe80::1%eth0");
  for (const auto& [text, host, port] :
       std::vector<std::tuple<std::string, std::string, std::string>>{{"[::1]:29612", "::1", "29612"},
                                                                      {"[::1]", "::1", ""},
                                                                      {"::1", "::1", ""},
                                                                      {"fe80::1%eth0", "fe80::1%eth0", ""},
                                                                      {"[fe80::1%eth0]:7", "fe80::1%eth0", "7"},
                                                                      {"node0:77", "node0", "77"},
                                                                      {"node0", "node0", ""},
                                                                      {"10.0.0.1:9", "10.0.0.1", "9"},
                                                                      {":29500", "", "29500"}}) {
    EXPECT_EQ(split_endpoint(text).host, host) << text;
    EXPECT_EQ(split_endpoint(text).port, port) << text;
  }
}

TEST(LaunchEnvironment, OpenMpiAndMpich) {
  const LaunchEnvironment open_mpi = read({{"OMPI_COMM_WORLD_RANK", "3"},
                                           {"OMPI_COMM_WORLD_SIZE", "4"},
                                           {"OMPI_COMM_WORLD_LOCAL_RANK", "3"},
                                           {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
                                           {"SLURM_PROCID", "0"},
                                           {"SLURM_NTASKS", "1"}});
  EXPECT_EQ(open_mpi.launcher, Launcher::open_mpi);
  EXPECT_EQ(open_mpi.rank, 3);
  EXPECT_EQ(open_mpi.master_addr, "127.0.0.1");
  EXPECT_EQ(open_mpi.master_port, 29500);
  const Variables mpich = {{"PMI_RANK", "5"}, {"PMI_SIZE", "8"}, {"MPI_LOCALRANKID", "1"}, {"MPI_LOCALNRANKS", "4"}};
  EXPECT_THAT(complaint(mpich), testing::HasSubstr("MASTER_ADDR"));
  const LaunchEnvironment two_nodes = read(with(mpich, "MASTER_ADDR", "node0"));
  EXPECT_EQ(two_nodes.launcher, Launcher::mpich);
  EXPECT_EQ(two_nodes.rank, 5);
  EXPECT_EQ(two_nodes.node_rank, 1);
}

// srun --mpi=pmi2 sets PMI_RANK, too, but not Hydra's local rank.
TEST(LaunchEnvironment, SlurmWithPmi) {
  EXPECT_EQ(read(with(with(kSlurm, "PMI_RANK", "5"), "PMI_SIZE", "11")).launcher, Launcher::slurm);
}

TEST(LaunchEnvironment, JobToken) {
  EXPECT_EQ(read({}).job_token, "");
  EXPECT_EQ(read(kTorchrun).job_token, "");
  EXPECT_EQ(read(with(kTorchrun, "RINGTRON_JOB_TOKEN", "t")).job_token, "t");
  EXPECT_EQ(read(with(kTorchrun, "TORCHELASTIC_RUN_ID", "none")).job_token, "");
  EXPECT_NE(read(with(kTorchrun, "TORCHELASTIC_RUN_ID", "a")).job_token,
            read(with(kTorchrun, "TORCHELASTIC_RUN_ID", "b")).job_token);
  // Slurm's names are left alone where another launcher started the ranks: not all of its ranks may have them.
  EXPECT_EQ(read(with(kTorchrun, "SLURM_JOB_ID", "7")).job_token, "");
  EXPECT_EQ(read(with(kSlurm, "SLURM_STEP_ID", "3")).job_token, "slurm 90017.3");
  EXPECT_NE(read(with(kSlurm, "SLURM_STEP_ID", "3")).job_token, read(with(kSlurm, "SLURM_STEP_ID", "4")).job_token);
  EXPECT_EQ(read(with(kSlurm, "RINGTRON_JOB_TOKEN", "t")).job_token, "t");
}

TEST(LaunchEnvironment, Inconsistent) {
  EXPECT_THAT(complaint(with(kTorchrun, "RANK", "8")),
              testing::HasSubstr("expected rank below the world size 8, got 8"));
  EXPECT_THAT(complaint(with(kTorchrun, "LOCAL_RANK", "4")), testing::HasSubstr("local rank"));
  EXPECT_THAT(complaint(with(kTorchrun, "LOCAL_WORLD_SIZE", "9")), testing::HasSubstr("local world size"));
  EXPECT_THAT(complaint(with(kTorchrun, "RANK", "x")), testing::HasSubstr("RANK: expected a whole number, got \"x\""));
  EXPECT_THAT(complaint(with(kTorchrun, "RANK", "-1")), testing::HasSubstr("RANK"));
  EXPECT_THAT(complaint(with(kTorchrun, "MASTER_PORT", "70000")),
              testing::HasSubstr("MASTER_PORT: expected 1 to 65535, got 70000"));
  EXPECT_THAT(complaint(with(kTorchrun, "MASTER_PORT", "0")), testing::HasSubstr("MASTER_PORT"));
  for (const char* name : {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR"}) {
    EXPECT_THAT(complaint(without(kTorchrun, name)), testing::HasSubstr(name));
  }
  EXPECT_THAT(complaint(without(kSlurm, "SLURM_LOCALID")), testing::HasSubstr("SLURM_LOCALID"));
  EXPECT_THAT(complaint(with(kSlurm, "SLURM_NODEID", "3")), testing::HasSubstr("SLURM_TASKS_PER_NODE"));
}

}  // namespace
}  // namespace ringtron

// ringrun's command line: both spellings, what is passed on, and what is refused.
#include "ringtron/launch/ringrun_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

using Words = std::vector<std::string>;

std::optional<std::string> environment(const char* name) {
  if (std::string(name) == "PATH") return "/usr/bin:/bin";
  if (std::string(name) == "CUDA_VISIBLE_DEVICES") return "0,3,5";
  return std::nullopt;
}

RingrunCommandLine parse(const Words& words) { return parse_ringrun(words, environment); }

std::string complaint(const Words& words) {
  try {
    parse(words);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "no complaint";
}

TEST(RingrunOptions, BothSpellings) {
  for (const Words& words :
       {Words{"--nproc-per-node", "3", "sh"}, Words{"--nproc_per_node", "3", "sh"},
        Words{"--nproc_per_node=3", "--", "sh"}, Words{"--no_python", "--nproc-per-node=3", "sh"}}) {
    const RingrunCommandLine line = parse(words);
    EXPECT_EQ(line.options.ranks_per_node, 3);
    EXPECT_THAT(line.command.program, testing::EndsWith("/sh"));
    EXPECT_GT(line.options.master_port, 0);
  }
  EXPECT_EQ(parse({"--nproc-per-node", "gpu", "sh"}).options.ranks_per_node, 3);
}

TEST(RingrunOptions, ProgramArgumentsAreUntouched) {
  const Words rest = {"--nproc-per-node", "9", "--help", "--", "a_b", ""};
  Words words = {"--standalone", "sh"};
  words.insert(words.end(), rest.begin(), rest.end());
  const RingrunCommandLine line = parse(words);
  EXPECT_EQ(line.command.arguments, rest);
  EXPECT_EQ(line.options.ranks_per_node, 1);
  EXPECT_FALSE(line.help);
}

TEST(RingrunOptions, SeveralNodes) {
  const SupervisorOptions options =
      parse({"--nnodes=2", "--node_rank=1", "--master_addr=node0", "--master_port", "4711", "sh"}).options;
  EXPECT_EQ(options.nodes, 2);
  EXPECT_EQ(options.node_rank, 1);
  EXPECT_EQ(options.master_addr, "node0");
  EXPECT_EQ(options.master_port, 4711);
  const SupervisorOptions endpoint =
      parse({"--nnodes=2", "--node-rank=0", "--rdzv-endpoint=n:77", "--rdzv-backend=static", "sh"}).options;
  EXPECT_EQ(endpoint.master_addr, "n");
  EXPECT_EQ(endpoint.master_port, 77);
}

TEST(RingrunOptions, AddressesOfIpv6) {
  EXPECT_EQ(parse({"--rdzv-endpoint", "[::1]:29612", "sh"}).options.master_addr, "::1");
  EXPECT_EQ(parse({"--rdzv-endpoint", "[::1]:29612", "sh"}).options.master_port, 29612);
  EXPECT_EQ(parse({"--rdzv-endpoint", "::1", "sh"}).options.master_addr, "::1");
  EXPECT_GT(parse({"--rdzv-endpoint", "::1", "sh"}).options.master_port, 0);
  EXPECT_EQ(parse({"--master-addr", "[fe80::1%eth0]", "sh"}).options.master_addr, "fe80::1%eth0");
  EXPECT_THAT(complaint({"--rdzv-endpoint", "[::1]:x", "sh"}), testing::HasSubstr("\"x\""));
  EXPECT_THAT(complaint({"--rdzv-endpoint", ":29500", "sh"}), testing::HasSubstr("expected a host"));
}

TEST(RingrunOptions, AllFaultsAtOnce) {
  const std::string all = complaint({"--nproc-per-node", "x", "--nnodes=2", "--master-port=99999", "no-such-program"});
  for (const char* part : {"--nproc-per-node", "--node-rank", "--master-addr", "99999", "no-such-program"}) {
    EXPECT_THAT(all, testing::HasSubstr(part));
  }
  EXPECT_THAT(complaint({"--nproc-per-nod", "2", "sh"}), testing::HasSubstr("did you mean --nproc-per-node"));
  EXPECT_THAT(complaint({"--rdzv-backend=c10d", "sh"}), testing::HasSubstr("expected static"));
  EXPECT_THAT(complaint({"--max_restarts=3", "sh"}), testing::HasSubstr("--max-restarts"));
  EXPECT_THAT(complaint({"--tee", "3", "sh"}), testing::HasSubstr("--tee is not supported"));
  EXPECT_THAT(complaint({"--nnodes", "1:4", "sh"}), testing::HasSubstr("1:4"));
  EXPECT_THAT(complaint({"--nproc-per-node"}), testing::HasSubstr("got nothing"));
  EXPECT_THAT(complaint({}), testing::HasSubstr("expected a program"));
}

TEST(RingrunOptions, ThreadsAreSharedOut) {
  const RingrunCommandLine line = parse({"--nproc-per-node=100000", "sh"});
  EXPECT_THAT(line.options.environment, testing::Contains(testing::Pair("OMP_NUM_THREADS", "1")));
  EXPECT_EQ(line.options.notices.size(), 1u);
}

TEST(RingrunOptions, EachRunHasATokenOfItsOwn) {
  const auto token = [](const std::vector<std::string>& words) {
    for (const auto& [name, value] : parse(words).options.environment) {
      if (name == "RINGTRON_JOB_TOKEN") return value;
    }
    return std::string();
  };
  EXPECT_EQ(token({"sh"}).size(), 32u);
  EXPECT_NE(token({"sh"}), token({"sh"}));
  const std::vector<std::string> two_nodes = {"--nnodes", "2",         "--node-rank", "0", "--master-addr",
                                              "a",        "--rdzv-id", "job7",        "sh"};
  EXPECT_EQ(token(two_nodes), "job7");
}

TEST(RingrunOptions, Help) {
  EXPECT_TRUE(parse({"-h"}).help);
  EXPECT_THAT(ringrun_help(), testing::HasSubstr("ringrun --nproc-per-node 4 pretrain_gpt"));
}

}  // namespace
}  // namespace ringtron

// Which environment variables get a line, and which have an effect and get none.
#include "ringtron/launch/ignored_variables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ringtron {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> lines(const std::vector<std::string>& names) { return ignored_variables(names); }

TEST(IgnoredVariables, EachGetsALineThatSaysWhatGoverns) {
  EXPECT_THAT(lines({"PATH", "NCCL_TIMEOUT", "NCCL_BLOCKING_WAIT"}),
              ElementsAre(HasSubstr("NCCL_BLOCKING_WAIT has no effect"), HasSubstr("--distributed-timeout-minutes")));
  for (const char* name :
       {"TORCH_NCCL_BLOCKING_WAIT", "NCCL_ASYNC_ERROR_HANDLING", "TORCH_NCCL_ASYNC_ERROR_HANDLING",
        "TORCH_NCCL_HEARTBEAT_TIMEOUT_SEC", "TORCH_NCCL_SOMETHING_NEW", "NVTE_FLASH_ATTN", "NCCL_DESYNC_DEBUG"}) {
    EXPECT_THAT(lines({name}), ElementsAre(HasSubstr(std::string(name) + " has no effect"))) << name;
  }
}

TEST(IgnoredVariables, WhatHasAnEffectGetsNone) {
  EXPECT_TRUE(lines({"NCCL_DEBUG", "NCCL_IB_HCA", "NCCL_IB_DISABLE", "NCCL_IB_TIMEOUT", "NCCL_SOCKET_IFNAME",
                     "NCCL_ALGO", "NCCL_PROTO", "GLOO_SOCKET_IFNAME", "OMP_NUM_THREADS", "CUDA_DEVICE_MAX_CONNECTIONS",
                     "MASTER_ADDR", "TORCHELASTIC_RUN_ID"})
                  .empty());
}

TEST(IgnoredVariables, NamesOfThisProcess) { EXPECT_THAT(environment_names(), ::testing::Contains("PATH")); }

}  // namespace
}  // namespace ringtron

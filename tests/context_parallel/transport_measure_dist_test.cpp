#include "ringtron/context_parallel/transport_measure.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/multi_rank.h"

namespace ringtron {
namespace {

constexpr AttentionShape kShape{1, 4, 2, 16, 16, 4, 4};

// Every rank must choose alike, so every rank must have the same numbers, to the last bit.
DIST_TEST(TransportMeasure, AllRanksGetTheNumbersOfRankZero, 1, 2, 4) {
  Communicator& comm = ranks.world();
  const DeviceSpeeds speeds = measure_speeds(comm, kShape, {.sequence_length = 512}, at::kFloat, at::kCPU);
  const at::Tensor mine = at::tensor(
      {speeds.link.bytes_per_second, speeds.link.seconds_per_exchange, speeds.attention.forward_flops_per_second,
       speeds.attention.backward_flops_per_second, speeds.attention.copy_bytes_per_second},
      at::kDouble);
  EXPECT_TRUE(at::isfinite(mine).all().item<bool>());
  EXPECT_TRUE((mine > 0).all().item<bool>());
  const at::Tensor least = mine.clone(), most = mine.clone();
  comm.all_reduce(least, ReduceOp::min).wait();
  comm.all_reduce(most, ReduceOp::max).wait();
  EXPECT_TRUE(at::equal(least, most));
}

// The kernel of a window is another one than that of a causal block, so what is measured must be slanted
// twice.
DIST_TEST(TransportMeasure, TheBlockHasABandLikeTheRuns, 1) {
  EXPECT_EQ(measured_band({.sequence_length = 512}, 256), Band::causal());
  EXPECT_EQ(measured_band({.sequence_length = 512, .window = {511, 0}}, 256), Band::causal());
  EXPECT_EQ(measured_band({.sequence_length = 512, .window = {510, 0}}, 256), (Band{128, 0}));
  EXPECT_EQ(measured_band({.sequence_length = 512, .window = {7, 0}}, 256), (Band{7, 0}));
}

DIST_TEST(TransportMeasure, DropoutWindowsAndDocumentsAreMeasuredToo, 1) {
  for (const AttentionUse& use : {AttentionUse{512, {}, false, true}, AttentionUse{512, {16, 0}, false, false},
                                  AttentionUse{512, {}, true, false}, AttentionUse{512, {16, 0}, true, true}}) {
    const AttentionSpeed speed = measure_attention(kShape, use, at::kFloat, at::kCPU);
    EXPECT_TRUE(std::isfinite(speed.forward_flops_per_second));
    EXPECT_GT(speed.forward_flops_per_second, 0.0);
  }
}

DIST_TEST(TransportMeasure, AGroupOfOneHasTheDefaultLink, 1) {
  const LinkSpeed link = measure_link(ranks.world(), at::kCPU);
  EXPECT_EQ(link.bytes_per_second, default_cpu_speeds().link.bytes_per_second);
}

}  // namespace
}  // namespace ringtron

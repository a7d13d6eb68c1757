// Schedules in words.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "ringtron/context_parallel/schedule/schedule_check.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

using Masks = std::vector<AttentionMask>;

TEST(ScheduleText, PrintsTheOperationsOfASchedule) {
  const Masks masks = {{16, true}};
  const SequenceLayout layout = zigzag_layout(16, 4);
  const RankSchedules ring = make_schedules({layout, masks}, CpTransport::p2p, 1, {4, 4}).at(1);
  EXPECT_EQ(to_string(ring.forward),
            R"(  0 exchange: | send kv of 1 [2-3 12-13] to 2 | receive kv of 0 [0-1 14-15] from 0
  0 launch: q 2-3 12-13 x kv of 1 [2-3 12-13] causal
  0 merge launch 0
  0 wait for exchange 0
  0 release buffer 0
  1 exchange: | send kv of 0 [0-1 14-15] to 2 | receive kv of 3 [6-9] from 0
  1 launch: q 2-3 12-13 x kv of 0 [0-1]
  1 merge launch 1
  1 wait for exchange 1
  1 release buffer 1
  2 exchange: | send kv of 3 [6-9] to 2 | receive kv of 2 [4-5 10-11] from 0
  2 launch: q 12-13 x kv of 3 [6-9]
  2 merge launch 2
  2 wait for exchange 2
  2 release buffer 2
  3 launch: q 12-13 x kv of 2 [4-5 10-11]
  3 merge launch 3
)");
  EXPECT_EQ(to_string(ring.backward), R"(  0 exchange: | send kv of 2 [4-5 10-11] to 0 | receive kv of 3 [6-9] from 2
  0 launch: q 12-13 x kv of 2 [4-5 10-11]
  0 add launch 0 to dq and dkv of 2 [4-5 10-11]
  0 wait for exchange 0
  0 release buffer 0
  1 exchange: | send kv of 3 [6-9] to 0 | send dkv of 2 [4-5 10-11] to 0 | receive kv of 0 [0-1 14-15] from 2 | receive dkv of 3 [6-9] from 2
  1 launch: q 12-13 x kv of 3 [6-9]
  1 add launch 1 to dq and dkv of 3 [6-9]
  1 wait for exchange 1
  1 release buffer 3
  1 add dkv of 3 [6-9] to buffer 6
  1 release buffer 5
  1 release buffer 2
  2 exchange: | send kv of 0 [0-1 14-15] to 0 | send dkv of 3 [6-9] to 0 | receive kv of 1 [2-3 12-13] from 2 | receive dkv of 0 [0-1 14-15] from 2
  2 launch: q 2-3 12-13 x kv of 0 [0-1]
  2 add launch 2 to dq and dkv of 0 [0-1]
  2 wait for exchange 2
  2 release buffer 6
  2 add dkv of 0 [0-1 14-15] to buffer 9
  2 release buffer 8
  2 release buffer 4
  3 exchange: | send dkv of 0 [0-1 14-15] to 0 | receive dkv of 1 [2-3 12-13] from 2
  3 launch: q 2-3 12-13 x kv of 1 [2-3 12-13] causal
  3 add launch 3 to dq and dkv of 1 [2-3 12-13]
  3 wait for exchange 3
  3 release buffer 9
  3 add dkv of 1 [2-3 12-13] to buffer 1
  3 release buffer 10
)");
}

TEST(ScheduleText, PrintsTilesSamplesBandsAndHeads) {
  const SequenceLayout layout = zigzag_layout(16, 4);
  const Masks documents = {{16, true, {}, {5}}, {16, true, {}, {9}}}, window = {{16, true, {2, -1}}},
              causal = {{16, true}};
  const auto text = [&](const Masks& masks, CpTransport transport, bool varlen) {
    return to_string(make_schedules({layout, masks}, transport, 2, {4, 4, varlen, varlen}).at(3).forward);
  };
  EXPECT_THAT(text(documents, CpTransport::p2p, true), HasSubstr("  0 launch: q 6-9 x kv of 3 [6-9] 3 tiles\n"));
  EXPECT_THAT(text(documents, CpTransport::p2p, false),
              HasSubstr("  0 launch: q 6-8 x kv of 3 [6-8] causal sample 1\n"));
  EXPECT_THAT(text(window, CpTransport::p2p, false), HasSubstr("  0 launch: q 6-9 x kv of 3 [6-9] band 2,0\n"));
  EXPECT_THAT(text(window, CpTransport::p2p, false), HasSubstr("  1 launch: q 6-7 x kv of 2 [4-5] band 0,all\n"));
  EXPECT_THAT(text(causal, CpTransport::all_gather, false), HasSubstr(" | receive kv of all [14-15] from 0"));
  EXPECT_THAT(text(causal, CpTransport::all_gather, true), HasSubstr(" -1 copy kv of 3 [6-9] to buffer 1\n"));
  EXPECT_THAT(text(causal, CpTransport::hierarchical, false),
              AllOf(StartsWith(" -1 exchange: to heads\n"), EndsWith(" -1 exchange: to sequence\n")));
}

}  // namespace
}  // namespace ringtron

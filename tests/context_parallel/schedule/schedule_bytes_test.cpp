// What schedules send, against the closed forms and against counts by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "ringtron/context_parallel/plan/gqa_head_shares.h"
#include "ringtron/context_parallel/plan/transport.h"
#include "ringtron/context_parallel/schedule/lower.h"
#include "ringtron/context_parallel/schedule/schedule.h"

namespace ringtron {
namespace {

using Masks = std::vector<AttentionMask>;

RankSchedules schedules_of(const PlanRequest& request, CpTransport transport, int a, int rank,
                           const AttentionShape& shape) {
  return lower(make_transport_plan(transport, a, request, rank), {shape.heads, shape.groups});
}

TEST(BytesOfASchedule, AreTheClosedFormForDenseMasks) {
  for (int ranks = 1; ranks <= 16; ++ranks) {
    for (const bool causal : {true, false}) {
      const Masks masks = {{4 * ranks, causal}};
      const AttentionShape shape{3, 4 * ranks, 2 * ranks, 5, 7, 2, 4};
      for (const SequenceLayout& layout : {zigzag_layout(4 * ranks, ranks), contiguous_layout(4 * ranks, ranks)}) {
        for (const CpTransport transport : cp_transports()) {
          for (int a = 1; a <= ranks; ++a) {
            if (ranks % a != 0 || (a > 1 && transport != CpTransport::hierarchical)) continue;
            for (int rank = 0; rank < ranks; ++rank) {
              const RankSchedules schedules = schedules_of({layout, masks}, transport, a, rank, shape);
              ASSERT_EQ(bytes_of(schedules, layout, rank, shape),
                        closed_form_bytes(ranks, head_ranks_of(transport, ranks, a), 4 * ranks, shape))
                  << to_text(transport) << " " << a << " on " << ranks;
            }
          }
        }
      }
    }
  }
}

// 7 heads of one size on 4 ranks, 6 positions: what each rank sends and what each receives add up alike.
TEST(BytesOfASchedule, OfHeadsThatDoNotDivideMoveEveryForeignHeadOnce) {
  const Masks masks = {{6, true}};
  const SequenceLayout layout = contiguous_layout(6, 4);
  const AttentionShape shape{1, 7, 7, 1, 1, 1, 1};
  const std::vector<HeadShare> shares = share_heads(7, 7, 4);
  std::int64_t forward = 0, backward = 0, rows_and_heads = 0;
  for (int rank = 0; rank < 4; ++rank) {
    const TransportBytes bytes =
        bytes_of(schedules_of({layout, masks}, CpTransport::a2a, 1, rank, shape), layout, rank, shape);
    forward += bytes.forward;
    backward += bytes.backward;
    rows_and_heads += layout.local_length(rank) * (7 - shares[rank].q.length());
  }
  EXPECT_EQ(forward, 4 * rows_and_heads);  // q, k, v there and out back
  EXPECT_EQ(backward, 4 * rows_and_heads);
}

TEST(BytesOfASchedule, OfAWindowDoNotGrowWithTheSequence) {
  const AttentionShape shape{2, 4, 4, 8, 8, 2, 4};
  std::set<std::int64_t> forward;
  for (const std::int64_t length : {256, 1024, 4096}) {
    const Masks masks = {{length, true, {31, -1}}};
    const SequenceLayout layout = contiguous_layout(length, 8);
    forward.insert(bytes_of(schedules_of({layout, masks}, CpTransport::p2p, 1, 3, shape), layout, 3, shape).forward);
  }
  EXPECT_EQ(forward, std::set<std::int64_t>{31 * 2 * 4 * (8 + 8) * 2});
}

// Four query heads of one key/value head on two ranks: both ranks have it, and its two gradients are summed in the
// accumulate type.
TEST(BytesOfASchedule, OfAHeadThatTwoRanksHaveGoHomeInTheAccumulateType) {
  const Masks masks = {{8, true}};
  const SequenceLayout layout = contiguous_layout(8, 2);
  for (const std::int64_t groups : {1, 2}) {
    const AttentionShape shape{1, 4, groups, 3, 3, 2, 4};
    const std::int64_t query = 4 * 2 * 3 * 2, key_value = 4 * 1 * 6, element = groups == 1 ? 4 : 2;
    for (int rank = 0; rank < 2; ++rank) {
      const TransportBytes bytes =
          bytes_of(schedules_of({layout, masks}, CpTransport::a2a, 1, rank, shape), layout, rank, shape);
      EXPECT_EQ(bytes, (TransportBytes{2 * query + 2 * key_value, 2 * query + element * key_value})) << groups;
    }
  }
}

// The second group of ranks sends what the first one sends, each for its own heads.
TEST(BytesOfASchedule, OfAHierarchyAreOfTheHeadsOfTheRank) {
  const Masks masks = {{8, true}};
  const SequenceLayout layout = contiguous_layout(8, 4);
  const AttentionShape shape{1, 3, 3, 1, 1, 1, 2};  // one head and two
  for (int rank = 0; rank < 4; ++rank) {
    const RankSchedules schedules = schedules_of({layout, masks}, CpTransport::hierarchical, 2, rank, shape);
    const std::int64_t own = rank % 2 == 0 ? 1 : 2, other = 3 - own, rows = 2;
    const std::int64_t block = 4 * own * 2;  // K and V of the four positions of two ranks
    EXPECT_EQ(bytes_of(schedules, layout, rank, shape),
              (TransportBytes{rows * other * 3 + rows * own + block, rows * other + rows * own * 3 + 3 * block}));
  }
}

}  // namespace
}  // namespace ringtron

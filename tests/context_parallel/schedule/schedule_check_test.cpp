#include "ringtron/context_parallel/schedule/schedule_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <utility>

#include "ringtron/context_parallel/plan/balanced_layout.h"
#include "ringtron/context_parallel/schedule/varlen_batches.h"
#include "tests/context_parallel/schedule/operations.h"

namespace ringtron {
namespace {

using testing::all_of;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Masks = std::vector<AttentionMask>;

// About `count` document starts, spread without a pattern that a layout could share; neighbours may be one
// apart.
std::vector<std::int64_t> some_starts(std::int64_t length, std::int64_t count, std::int64_t seed) {
  std::vector<std::int64_t> starts;
  for (std::int64_t position = 1; position < length; ++position) {
    if ((position * position * 7 + position * seed + 3 * seed) % length < count) starts.push_back(position);
  }
  return starts;
}

// One mask for all samples, or one for each of two.
struct MaskKind {
  const char* name;
  std::function<Masks(std::int64_t)> make;
};

const std::vector<MaskKind>& mask_kinds() {
  static const std::vector<MaskKind> kinds = {
      {"causal", [](std::int64_t s) { return Masks{{s, true}}; }},
      {"full", [](std::int64_t s) { return Masks{{s, false}}; }},
      {"causal window", [](std::int64_t s) { return Masks{{s, true, {s / 5, -1}}}; }},
      {"full window", [](std::int64_t s) { return Masks{{s, false, {1, s / 4}}}; }},
      {"causal documents",
       [](std::int64_t s) { return Masks{{s, true, {}, some_starts(s, 4, 1)}, {s, true, {}, some_starts(s, 2, 5)}}; }},
      {"full documents", [](std::int64_t s) { return Masks{{s, false, {}, some_starts(s, 3, 2)}}; }},
      {"window and documents",
       [](std::int64_t s) { return Masks{{s, true, {3, -1}, some_starts(s, 2, 3)}, {s, true, {3, -1}, {}}}; }},
  };
  return kinds;
}

// Also lengths below the number of ranks, and none that is only convenient.
std::vector<std::int64_t> lengths_for(int ranks) { return {1, 2, 7, 2 * ranks, 4 * ranks - 1, 6 * ranks + 1}; }

struct Transport {
  CpTransport transport;
  int a;
};

std::vector<Transport> transports_for(int ranks) {
  std::vector<Transport> transports = {{CpTransport::p2p, 1}, {CpTransport::all_gather, 1}, {CpTransport::a2a, 1}};
  for (int a = 1; a <= ranks; ++a) {
    if (ranks % a == 0) transports.push_back({CpTransport::hierarchical, a});
  }
  return transports;
}

class EverySchedule : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, EverySchedule, ::testing::Range(1, 17));

TEST_P(EverySchedule, IsProven) {
  const int ranks = GetParam();
  int proven = 0;
  for (const MaskKind& kind : mask_kinds()) {
    for (const std::int64_t length : lengths_for(ranks)) {
      const Masks masks = kind.make(length);
      for (const CpLayout layout_kind : {CpLayout::zigzag, CpLayout::contiguous, CpLayout::balanced}) {
        const SequenceLayout layout = make_layout(layout_kind, masks, ranks);
        for (const auto& [transport, a] : transports_for(ranks)) {
          ASSERT_THAT(check_transport({layout, masks}, transport, a, 2 * ranks, ranks).faults, IsEmpty())
              << to_text(transport) << " " << a << " on " << ranks << " ranks, " << layout.name() << ", " << kind.name
              << ", length " << length;
          ++proven;
        }
      }
    }
  }
  RecordProperty("proven", proven);
}

TEST(ScheduleCheck, ProvesLongSequences) {
  for (const MaskKind& kind : mask_kinds()) {
    const Masks masks = kind.make(4097);
    for (const CpLayout layout_kind : {CpLayout::zigzag, CpLayout::balanced}) {
      const SequenceLayout layout = make_layout(layout_kind, masks, 8);
      for (const CpTransport transport : {CpTransport::p2p, CpTransport::all_gather, CpTransport::hierarchical}) {
        EXPECT_THAT(check_transport({layout, masks}, transport, 2, 40, 8).faults, IsEmpty())
            << to_text(transport) << ", " << layout.name() << ", " << kind.name;
      }
    }
  }
}

std::int64_t cells_of(const Schedule& schedule, std::int64_t samples) {
  std::int64_t cells = 0;
  for (const Launch& launch : all_of<Launch>(schedule)) cells += cells_of(launch, samples);
  return cells;
}

TEST_P(EverySchedule, ComputesTheAreaOfTheMasks) {
  const int ranks = GetParam();
  for (const MaskKind& kind : mask_kinds()) {
    const Masks masks = kind.make(5 * ranks + 2);
    const std::int64_t samples = std::ssize(masks);
    std::int64_t expected = 0;
    for (const AttentionMask& mask : masks) expected += mask.area();
    for (const auto& [transport, a] : transports_for(ranks)) {
      for (const bool varlen : {false, true}) {
        const SequenceLayout layout = zigzag_layout(5 * ranks + 2, ranks);
        std::int64_t forward = 0, backward = 0;
        const auto all = make_schedules({layout, masks}, transport, a, {ranks, ranks, varlen, varlen});
        for (const RankSchedules& schedules : all) {
          forward += cells_of(schedules.forward, samples);
          backward += cells_of(schedules.backward, samples);
        }
        // Every head once: the ranks that share heads compute the same cells.
        const auto members = static_cast<std::int64_t>(all.front().forward.heads.size());
        EXPECT_EQ(forward, expected * members) << kind.name << " " << to_text(transport);
        EXPECT_EQ(backward, expected * members) << kind.name << " " << to_text(transport);
      }
    }
  }
}

// Ranks have four rows each. Beside the block that is given.
TEST_P(EverySchedule, OfTheRingHoldsTwoBlocksAndOfTheGatherAll) {
  const int ranks = GetParam();
  const std::int64_t length = 4 * ranks;
  const SequenceLayout layout = zigzag_layout(length, ranks);
  for (const MaskKind& kind : mask_kinds()) {
    const Masks masks = kind.make(length);
    const bool dense = masks.size() == 1 && masks.front().dense();
    const auto check = [&](CpTransport transport, const std::function<void(const PeakRows&, Pass)>& expect) {
      SCOPED_TRACE(std::string(kind.name) + ", " + std::string(to_text(transport)));
      const auto all = make_schedules({layout, masks}, transport, 1, {ranks, ranks});
      EXPECT_THAT(check_schedules(all, {layout, masks}), IsEmpty());
      for (const RankSchedules& schedules : all) {
        expect(schedules.forward.peak, Pass::forward);
        expect(schedules.backward.peak, Pass::backward);
      }
    };
    check(CpTransport::p2p, [&](const PeakRows& peak, Pass pass) {
      EXPECT_LE(peak.key_value, ranks > 1 ? 8 : 0);
      EXPECT_GE(peak.key_value, dense ? 4 * std::min(2, ranks - 1) : 0);
      EXPECT_LE(peak.gradient, pass == Pass::forward ? 0 : 16);
      // The result of a ring begins with the last step, when nothing else is computed.
      if (dense && pass == Pass::backward) {
        EXPECT_EQ(peak.gradient, ranks > 1 ? 12 : 4);
      }
    });
    // All positions, in their order; sums of all of them, of its own, and what the others send home.
    check(CpTransport::all_gather, [&](const PeakRows& peak, Pass pass) {
      EXPECT_EQ(peak.key_value, ranks > 1 ? length : 0);
      EXPECT_LE(peak.gradient, pass == Pass::forward ? 0 : ranks > 1 ? 2 * length : 4);
    });
    check(CpTransport::a2a, [&](const PeakRows& peak, Pass pass) {
      EXPECT_EQ(peak.key_value, 0);
      EXPECT_EQ(peak.gradient, pass == Pass::forward ? 0 : length);
    });
  }
}

// Where ranks have many ranges, blocks arrive whole and are put in order afterwards.
TEST(ScheduleCheck, OfAGatherInPiecesHoldsTheSequenceAndTheBlocksThatArrive) {
  std::vector<std::vector<PositionRange>> of_rank(2);
  for (std::int64_t p = 0; p < 40; ++p) of_rank[static_cast<std::size_t>(p % 2)].push_back({p, p + 1});
  const SequenceLayout layout("every second", of_rank);
  ASSERT_FALSE(layout.few_ranges());
  const Masks masks = {{40, true}};
  EXPECT_THAT(check_transport({layout, masks}, CpTransport::all_gather, 1, 2, 2).faults, IsEmpty());
  for (const RankSchedules& schedules : make_schedules({layout, masks}, CpTransport::all_gather, 1, {2, 2})) {
    EXPECT_EQ(schedules.forward.peak.key_value, 40 + 20);
    EXPECT_THAT(all_of<MoveRows>(schedules.forward), ::testing::Not(IsEmpty()));
  }
}

// The cells of a launch of dense masks, counted one by one.
void mark(std::vector<int>& cells, std::int64_t length, const std::vector<std::int64_t>& queries,
          const std::vector<std::int64_t>& keys, const Band& band) {
  ASSERT_TRUE(band.is_all() || band.is_causal());
  for (std::size_t i = 0; i < queries.size(); ++i) {
    for (std::size_t j = 0; j < keys.size(); ++j) {
      if (band.is_all() || j <= i) ++cells.at(static_cast<std::size_t>(queries[i] * length + keys[j]));
    }
  }
}

std::vector<std::int64_t> one_by_one(const std::vector<PositionRange>& ranges) {
  std::vector<std::int64_t> positions;
  for (const PositionRange& range : ranges) {
    for (std::int64_t p = range.begin; p < range.end; ++p) positions.push_back(p);
  }
  return positions;
}

std::vector<std::int64_t> some(const std::vector<std::int64_t>& all, const PositionRange& rows) {
  return {all.begin() + rows.begin, all.begin() + rows.end};
}

// Independent of schedule_check: marks single cells.
TEST(ScheduleCheck, ThePositionsOfACausalMaskAreTheTriangle) {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    const std::int64_t s = 4 * ranks + 1;
    const Masks masks = {{s, true}};
    const SequenceLayout layout = zigzag_layout(s, ranks);
    for (const CpTransport transport : {CpTransport::p2p, CpTransport::all_gather, CpTransport::a2a}) {
      for (const bool varlen : {false, true}) {
        std::vector<int> forward(static_cast<std::size_t>(s * s), 0), backward = forward;
        const auto mark_all = [&](const Schedule& schedule, std::vector<int>& cells) {
          for (const Launch& launch : all_of<Launch>(schedule)) {
            const auto queries = one_by_one(positions_of(schedule.layout, schedule.rank, launch.q));
            const auto keys = one_by_one(positions_of(schedule, launch.buffer, launch.kv));
            if (!launch.batch) {
              mark(cells, s, queries, keys, launch.band);
              continue;
            }
            const Band band = launch.batch->causal ? Band::causal() : Band::all();
            for (const VarlenTile& tile : launch.batch->tiles)
              mark(cells, s, some(queries, tile.q), some(keys, tile.kv), band);
          }
        };
        for (const RankSchedules& schedules :
             make_schedules({layout, masks}, transport, 1, {ranks, ranks, varlen, varlen})) {
          mark_all(schedules.forward, forward);
          mark_all(schedules.backward, backward);
          if (transport == CpTransport::a2a) break;  // the others have other heads
        }
        for (std::int64_t q = 0; q < s; ++q) {
          for (std::int64_t k = 0; k < s; ++k) {
            ASSERT_EQ(forward[static_cast<std::size_t>(q * s + k)], k <= q ? 1 : 0)
                << q << " " << k << " " << to_text(transport);
            ASSERT_EQ(backward[static_cast<std::size_t>(q * s + k)], k <= q ? 1 : 0)
                << q << " " << k << " " << to_text(transport);
          }
        }
      }
    }
  }
}

TEST(ScheduleCheck, EveryRankOfTheZigzagHasTheSameWorkAtEveryStep) {
  const Masks masks = {{64, true}};
  const SequenceLayout layout = zigzag_layout(64, 8);
  for (const RankSchedules& schedules : make_schedules({layout, masks}, CpTransport::p2p, 1, {8, 8})) {
    std::vector<int> launches(8, 0);
    for (const Operation& operation : schedules.forward.operations) {
      const auto* launch = std::get_if<Launch>(&operation.what);
      if (launch == nullptr) continue;
      ++launches.at(static_cast<std::size_t>(operation.step));
      if (operation.step == 0) continue;
      EXPECT_EQ(launch->q.length() * launch->kv.length(), 32);
      EXPECT_TRUE(launch->band.is_all());
    }
    EXPECT_THAT(launches, ::testing::Each(1));
  }
}

struct RowsSent {
  std::int64_t key_value = 0, gradient = 0;
};
RowsSent rows_sent(const Schedule& schedule) {
  RowsSent rows;
  for (const Exchange& exchange : all_of<Exchange>(schedule)) {
    for (const Transfer& transfer : exchange.sends) {
      const bool sums = schedule.buffer(transfer.buffer).content == Payload::key_value_gradient;
      (sums ? rows.gradient : rows.key_value) += transfer.length();
    }
  }
  return rows;
}

// A window moves only what it reaches, however long the sequence is.
TEST(ScheduleCheck, AWindowSendsAHaloAndDocumentsSendWhatCrosses) {
  for (const std::int64_t length : {64, 1024}) {
    const Masks window = {{length, true, {5, -1}}};
    const SequenceLayout layout = contiguous_layout(length, 8);
    const auto all = make_schedules({layout, window}, CpTransport::p2p, 1, {8, 8});
    for (int rank = 0; rank < 8; ++rank) {
      const RowsSent forward = rows_sent(all[static_cast<std::size_t>(rank)].forward),
                     backward = rows_sent(all[static_cast<std::size_t>(rank)].backward);
      EXPECT_EQ(forward.key_value, rank < 7 ? 5 : 0);
      EXPECT_EQ(forward.gradient, 0);
      EXPECT_EQ(backward.key_value, rank < 7 ? 5 : 0);
      EXPECT_EQ(backward.gradient, rank > 0 ? 5 : 0);
    }
  }
  // Documents that end where shards end: nothing to send.
  const Masks documents = {{64, true, {}, {8, 16, 24, 32, 40, 48, 56}}};
  const SequenceLayout layout = contiguous_layout(64, 8);
  for (const RankSchedules& schedules : make_schedules({layout, documents}, CpTransport::p2p, 1, {8, 8})) {
    EXPECT_EQ(rows_sent(schedules.forward).key_value + rows_sent(schedules.backward).gradient, 0);
    EXPECT_THAT(all_of<Exchange>(schedules.forward), IsEmpty());
  }
}

TEST(ScheduleCheck, ThePeersOfHeadSlicesAreApart) {
  const Masks masks = {{24, true}};
  const SequenceLayout layout = zigzag_layout(24, 6);
  const auto all = make_schedules({layout, masks}, CpTransport::hierarchical, 2, {6, 6});
  EXPECT_EQ(all[3].forward.rank, 1);
  EXPECT_EQ(all[3].forward.heads, share_heads(6, 6, 2));
  const std::vector<Exchange> exchanges = all_of<Exchange>(all[3].forward);
  EXPECT_EQ(exchanges.at(0).sends.at(0).peer, 5);
  EXPECT_EQ(exchanges.at(0).receives.at(0).peer, 1);
}

TEST(HeadShareCheck, ProvesTheSharesOfAnyCounts) {
  for (std::int64_t groups = 1; groups <= 8; ++groups) {
    for (std::int64_t per_group = 1; per_group <= 6; ++per_group) {
      for (int ranks = 1; ranks <= 16; ++ranks) {
        const std::int64_t heads = groups * per_group;
        ASSERT_THAT(check_head_shares(share_heads(heads, groups, ranks), heads, groups), IsEmpty())
            << heads << "/" << groups << " on " << ranks;
      }
    }
  }
}

TEST(HeadShareCheck, SeesWhatIsMissing) {
  EXPECT_THAT(check_head_shares({{{0, 2}, {0, 1}}, {{2, 4}, {1, 2}}}, 4, 2), IsEmpty());
  EXPECT_THAT(check_head_shares({{{0, 2}, {0, 1}}, {{3, 4}, {1, 2}}}, 4, 2),
              Contains("query head 2 is in 0 head shares"));
  EXPECT_THAT(check_head_shares({{{0, 3}, {0, 2}}, {{2, 4}, {1, 2}}}, 4, 2),
              Contains("query head 2 is in 2 head shares"));
  EXPECT_THAT(check_head_shares({{{0, 3}, {0, 1}}, {{3, 4}, {1, 2}}}, 4, 2),
              Contains("head share 0: query head 2 uses key/value head 1, which is not in [0-1)"));
  EXPECT_THAT(check_head_shares({{{0, 5}, {0, 2}}}, 4, 2), Contains(HasSubstr("expected query heads below 4")));
}

}  // namespace
}  // namespace ringtron

// Batches of tiles: together the cells of the launches, and within a batch no row twice.
#include "ringtron/context_parallel/schedule/varlen_batches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <tuple>

#include "ringtron/base/random.h"
#include "ringtron/context_parallel/plan/balanced_layout.h"
#include "ringtron/context_parallel/schedule/schedule_check.h"
#include "tests/context_parallel/schedule/operations.h"

namespace ringtron {
namespace {

using testing::all_of;
using ::testing::Each;
using ::testing::Field;
using ::testing::IsNull;
using ::testing::Not;
using ::testing::SizeIs;

using Launches = std::vector<Launch>;

// buffer, sample, row of q, row of kv -> how often.
using Cells = std::map<std::tuple<int, int, std::int64_t, std::int64_t>, int>;

void mark(Cells& cells, const Launch& launch) {
  for (std::int64_t i = 0; i < launch.q.length(); ++i) {
    const PositionRange row = launch.band.row(i, launch.kv.length());
    for (std::int64_t j = row.begin; j < row.end; ++j) {
      ++cells[{launch.buffer, launch.sample, launch.q.begin + i, launch.kv.begin + j}];
    }
  }
}

// The tile as a launch of its own.
Launch launch_of(const Launch& whole, const VarlenTile& tile) {
  const auto moved = [](const PositionRange& range, std::int64_t by) {
    return PositionRange{range.begin + by, range.end + by};
  };
  return {moved(tile.q, whole.q.begin), whole.buffer, moved(tile.kv, whole.kv.begin),
          whole.batch->causal ? Band::causal() : Band::all(), tile.sample};
}

void expect_no_row_twice(const Launch& whole) {
  std::set<std::pair<int, std::int64_t>> q, kv;
  PositionRange q_of_all{whole.q.length(), 0}, kv_of_all{whole.kv.length(), 0};
  const auto widen = [](PositionRange& all, const PositionRange& rows) {
    all = {std::min(all.begin, rows.begin), std::max(all.end, rows.end)};
  };
  for (const VarlenTile& tile : whole.batch->tiles) {
    EXPECT_FALSE(tile.q.empty() || tile.kv.empty());
    EXPECT_TRUE(!whole.batch->causal || tile.q.length() == tile.kv.length());
    for (auto row = tile.q.begin; row < tile.q.end; ++row) EXPECT_TRUE(q.emplace(tile.sample, row).second);
    for (auto row = tile.kv.begin; row < tile.kv.end; ++row) EXPECT_TRUE(kv.emplace(tile.sample, row).second);
    widen(q_of_all, tile.q);
    widen(kv_of_all, tile.kv);
  }
  EXPECT_EQ(whole.sample, kAllSamples);
  // Neither a row before the first tile's nor one behind the last's.
  EXPECT_EQ(q_of_all, (PositionRange{0, whole.q.length()}));
  EXPECT_EQ(kv_of_all, (PositionRange{0, whole.kv.length()}));
}

// What was to launch and what is launched compute the same. Returns the number of batches.
std::size_t expect_same_cells(const Launches& before, const Launches& after, std::int64_t samples) {
  std::size_t batches = 0;
  Cells expected, got;
  for (const Launch& launch : before) mark(expected, launch);
  bool single = false;
  for (const Launch& launch : after) {
    if (!launch.batch) {
      mark(got, launch);
      single = true;
      continue;
    }
    EXPECT_FALSE(single) << "batches come first";
    ++batches;
    expect_no_row_twice(launch);
    std::int64_t cells = 0;
    for (const VarlenTile& tile : launch.batch->tiles) {
      const Launch part = launch_of(launch, tile);
      mark(got, part);
      cells += cells_of(part, samples);
    }
    EXPECT_EQ(cells_of(launch, samples), cells);
  }
  EXPECT_EQ(got, expected);
  return batches;
}
std::size_t expect_same_cells(const Launches& launches, std::int64_t samples) {
  return expect_same_cells(launches, batched(launches), samples);
}

// In [0, 1).
double uniform(std::uint64_t seed, std::uint64_t sample, std::int64_t position) {
  return random_word(seed, sample, static_cast<std::uint64_t>(position)) * 0x1p-32;
}

std::vector<AttentionMask> random_masks(std::uint64_t seed, std::int64_t length, bool causal, AttentionWindow window) {
  std::vector<AttentionMask> masks;
  const std::uint64_t samples = 1 + seed % 3;
  for (std::uint64_t sample = 0; sample < samples; ++sample) {
    std::vector<std::int64_t> starts;
    // Some samples of many tokens alone, some of few documents.
    const double share = sample % 2 == 0 ? 0.1 : 0.6;
    for (std::int64_t position = 1; position < length; ++position) {
      if (uniform(seed, sample, position) < share) starts.push_back(position);
    }
    masks.emplace_back(length, causal, window, starts);
  }
  return masks;
}

// The launches of a schedule, step by step.
std::map<int, Launches> launches_of(const Schedule& schedule) {
  std::map<int, Launches> launches;
  for (const Operation& operation : schedule.operations) {
    if (const auto* launch = std::get_if<Launch>(&operation.what)) launches[operation.step].push_back(*launch);
  }
  return launches;
}

using CheckOfSchedules =
    std::function<void(const Schedule& plain, const Schedule& varlen, const std::vector<AttentionMask>&)>;

// The same pass without batches and with them.
void for_random_schedules(AttentionWindow window, const CheckOfSchedules& check) {
  for (std::uint64_t seed = 0; seed < 24; ++seed) {
    const int ranks = 1 + static_cast<int>(seed % 5);
    const auto length = static_cast<std::int64_t>(5 + 11 * seed % 60);
    const std::vector<AttentionMask> masks = random_masks(seed, length, seed % 4 != 3, window);
    for (const CpLayout kind : {CpLayout::zigzag, CpLayout::contiguous, CpLayout::balanced}) {
      const SequenceLayout layout = make_layout(kind, masks, ranks);
      for (const CpTransport transport : {CpTransport::p2p, CpTransport::all_gather, CpTransport::a2a}) {
        SCOPED_TRACE(layout.name() + " " + std::string(to_text(transport)) + " seed " + std::to_string(seed));
        const auto plain = make_schedules({layout, masks}, transport, 1, {ranks, ranks});
        const auto varlen = make_schedules({layout, masks}, transport, 1, {ranks, ranks, true, true});
        for (std::size_t rank = 0; rank < plain.size(); ++rank) {
          check(plain[rank].forward, varlen[rank].forward, masks);
          check(plain[rank].backward, varlen[rank].backward, masks);
        }
      }
    }
  }
}

TEST(VarlenBatches, DocumentsBecomeAFewBatchesAndLeaveNothing) {
  std::size_t most = 0;
  for_random_schedules({}, [&](const Schedule& plain, const Schedule& varlen, const std::vector<AttentionMask>& masks) {
    const auto before = launches_of(plain), after = launches_of(varlen);
    ASSERT_EQ(before.size(), after.size());
    for (const auto& [step, launches] : before) {
      SCOPED_TRACE("step " + std::to_string(step));
      ASSERT_TRUE(after.contains(step));
      most = std::max(most, expect_same_cells(launches, after.at(step), std::ssize(masks)));
    }
    EXPECT_THAT(all_of<Launch>(varlen), Each(Field(&Launch::batch, Not(IsNull()))));
  });
  // Squares, then what a second range of queries sees of a first, from each of an owner's two ranges.
  EXPECT_LE(most, 6u);
}

TEST(VarlenBatches, WindowsAreLeftOver) {
  for_random_schedules({.left = 3},
                       [](const Schedule& plain, const Schedule& varlen, const std::vector<AttentionMask>& masks) {
                         const auto before = launches_of(plain), after = launches_of(varlen);
                         ASSERT_EQ(before.size(), after.size());
                         for (const auto& [step, launches] : before)
                           expect_same_cells(launches, after.at(step), std::ssize(masks));
                       });
  const std::vector<AttentionMask> masks = {{40, true, {.left = 3}, {20}}};
  const SequenceLayout layout = contiguous_layout(40, 1);
  const Launches launches =
      all_of<Launch>(make_schedules({layout, masks}, CpTransport::p2p, 1, {1, 1, true, true}).front().forward);
  EXPECT_THAT(launches, SizeIs(2));
  EXPECT_THAT(launches, Each(Field(&Launch::batch, IsNull())));
}

TEST(VarlenBatches, OneRanksCausalDocumentsAreOneBatch) {
  // Two tokens that are documents of their own are no reason for a second batch.
  const std::vector<AttentionMask> masks = {{30, true, {}, {10, 11, 12, 20}}, {30, true, {}, {29}}};
  const SequenceLayout layout = contiguous_layout(30, 1);
  const Launches launches =
      all_of<Launch>(make_schedules({layout, masks}, CpTransport::p2p, 1, {1, 1, true, true}).front().forward);
  ASSERT_THAT(launches, SizeIs(1));
  ASSERT_NE(launches[0].batch, nullptr);
  EXPECT_TRUE(launches[0].batch->causal);
  EXPECT_THAT(launches[0].batch->tiles, SizeIs(7));
  EXPECT_EQ(launches[0].q, (PositionRange{0, 30}));
  EXPECT_EQ(launches[0].kv, (PositionRange{0, 30}));
  EXPECT_EQ(launches[0].sample, kAllSamples);
}

// Only of the pass whose kernel takes them.
TEST(VarlenBatches, ArePassByPass) {
  const std::vector<AttentionMask> masks = {{30, true, {}, {10, 20}}};
  const SequenceLayout layout = zigzag_layout(30, 2);
  for (const bool forward : {false, true}) {
    for (const RankSchedules& schedules :
         make_schedules({layout, masks}, CpTransport::p2p, 1, {1, 1, forward, !forward})) {
      const Launches with = all_of<Launch>(forward ? schedules.forward : schedules.backward);
      const Launches without = all_of<Launch>(forward ? schedules.backward : schedules.forward);
      EXPECT_THAT(with, Each(Field(&Launch::batch, Not(IsNull()))));
      EXPECT_THAT(without, Each(Field(&Launch::batch, IsNull())));
    }
  }
}

// They lie in one buffer, from its first row to its last at most.
TEST(VarlenBatches, RowsOfABatchAreOfOneBuffer) {
  for_random_schedules({}, [](const Schedule&, const Schedule& varlen, const std::vector<AttentionMask>&) {
    for (const Launch& launch : all_of<Launch>(varlen)) {
      const PositionRange rows{0, varlen.buffer(launch.buffer).length()};
      EXPECT_EQ(intersection(rows, launch.kv), launch.kv);
      EXPECT_EQ(intersection({0, varlen.queries()}, launch.q), launch.q);
    }
  });
  const Launches launches = {
      {{0, 4}, 0, {0, 4}, Band::all()}, {{4, 8}, 1, {4, 8}, Band::all()}, {{8, 12}, 0, {8, 12}, Band::all()}};
  EXPECT_EQ(expect_same_cells(launches, 1), 2u);
}

// No plan of today has these: triangles that are no squares, and rows that see nothing.
TEST(VarlenBatches, EveryTriangleIsCutIntoSquaresAndRectangles) {
  for (std::int64_t queries = 1; queries <= 6; ++queries) {
    for (std::int64_t keys = 1; keys <= 6; ++keys) {
      for (std::int64_t right = -7; right <= 7; ++right) {
        const Launches launches = {{{3, 3 + queries}, 0, {5, 5 + keys}, {Band::kUnbounded, right}}};
        expect_same_cells(launches, 2);
        EXPECT_THAT(batched(launches), Each(Field(&Launch::batch, Not(IsNull()))));
      }
    }
  }
}

// Results of a batch are of all rows between its tiles.
TEST(VarlenBatches, KeysFarApartAreNotOneBatch) {
  const auto batches = [](std::int64_t second_kv) {
    return expect_same_cells(
        {{{0, 10}, 0, {0, 50}, Band::all()}, {{10, 20}, 0, {second_kv, second_kv + 50}, Band::all()}}, 1);
  };
  EXPECT_EQ(batches(1000), 1u);
  EXPECT_EQ(batches(100000), 2u);
}

TEST(VarlenBatches, AreTheSameEachTime) {
  const std::vector<AttentionMask> masks = random_masks(5, 50, true, {});
  const SequenceLayout layout = zigzag_layout(50, 2);
  const Launches launches = all_of<Launch>(make_schedules({layout, masks}, CpTransport::p2p, 1, {2, 2}).at(1).forward);
  const Launches first = batched(launches), second = batched(launches);
  ASSERT_EQ(first.size(), second.size());
  for (std::size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(first[i].batch->tiles, second[i].batch->tiles);
    EXPECT_EQ(first[i].batch->causal, second[i].batch->causal);
    EXPECT_EQ(first[i].buffer, second[i].buffer);
    EXPECT_EQ(first[i].q, second[i].q);
    EXPECT_EQ(first[i].kv, second[i].kv);
  }
}

}  // namespace
}  // namespace ringtron

// Batches of tiles: together the cells of the plan's attends, and within a batch no row twice.
#include "ringtron/context_parallel/plan/tile_batches.h"

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
#include "ringtron/context_parallel/plan/plan_check.h"

namespace ringtron {
namespace {

using ::testing::Each;
using ::testing::Field;
using ::testing::IsEmpty;
using ::testing::Ne;
using ::testing::SizeIs;

// owner, sample, row of q, row of kv -> how often.
using Cells = std::map<std::tuple<int, int, std::int64_t, std::int64_t>, int>;

void mark(Cells& cells, const Attend& attend) {
  for (std::int64_t i = 0; i < attend.q.length(); ++i) {
    const PositionRange row = attend.band.row(i, attend.kv.length());
    for (std::int64_t j = row.begin; j < row.end; ++j) {
      ++cells[{attend.owner, attend.sample, attend.q.begin + i, attend.kv.begin + j}];
    }
  }
}

// The tile as an attend of the plan.
Attend attend_of(const TileBatch& batch, const Tile& tile) {
  const auto moved = [](const PositionRange& range, std::int64_t by) { return PositionRange{range.begin + by, range.end + by}; };
  return {moved(tile.q, batch.cover.q.begin), batch.cover.owner, moved(tile.kv, batch.cover.kv.begin),
          batch.causal ? Band::causal() : Band::all(), tile.sample};
}

void expect_no_row_twice(const TileBatch& batch) {
  std::set<std::pair<int, std::int64_t>> q, kv;
  for (const Tile& tile : batch.tiles) {
    EXPECT_FALSE(tile.q.empty() || tile.kv.empty());
    EXPECT_LE(tile.q.end, batch.cover.q.length());
    EXPECT_LE(tile.kv.end, batch.cover.kv.length());
    EXPECT_TRUE(!batch.causal || tile.q.length() == tile.kv.length());
    for (auto row = tile.q.begin; row < tile.q.end; ++row) EXPECT_TRUE(q.emplace(tile.sample, row).second);
    for (auto row = tile.kv.begin; row < tile.kv.end; ++row) EXPECT_TRUE(kv.emplace(tile.sample, row).second);
  }
}

// The most batches of a step.
std::size_t expect_same_cells(const ExchangePlan& plan, std::int64_t samples) {
  std::size_t most = 0;
  const std::vector<StepTiles> steps = tile_batches(plan);
  EXPECT_EQ(steps.size(), plan.steps.size());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    Cells expected, got;
    for (const Attend& attend : plan.steps[i].attends) mark(expected, attend);
    for (const auto& batch : steps[i].batches) {
      expect_no_row_twice(*batch);
      std::int64_t area = 0;
      for (const Tile& tile : batch->tiles) {
        const Attend attend = attend_of(*batch, tile);
        mark(got, attend);
        area += attend.band.area(attend.q.length(), attend.kv.length()) * (tile.sample == kEverySample ? samples : 1);
      }
      EXPECT_EQ(batch->cells(samples), area);
    }
    for (const Attend& attend : steps[i].rest) mark(got, attend);
    EXPECT_EQ(got, expected) << "step " << i;
    most = std::max(most, steps[i].batches.size());
  }
  return most;
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

void for_random_plans(AttentionWindow window, const std::function<void(const ExchangePlan&, const std::vector<AttentionMask>&)>& check) {
  for (std::uint64_t seed = 0; seed < 24; ++seed) {
    const int ranks = 1 + static_cast<int>(seed % 5);
    const auto length = static_cast<std::int64_t>(5 + 11 * seed % 60);
    const std::vector<AttentionMask> masks = random_masks(seed, length, seed % 4 != 3, window);
    for (const char* name : {"zigzag", "contiguous", "balanced"}) {
      const SequenceLayout layout = make_layout(name, masks, ranks);
      for (const CpTransport transport : {CpTransport::p2p, CpTransport::all_gather, CpTransport::a2a}) {
        SCOPED_TRACE(std::string(name) + " " + std::string(to_text(transport)) + " seed " + std::to_string(seed));
        for (const TransportPlan& plan : make_plans({layout, masks}, transport, 1).plans) {
          check(plan.forward, masks);
          check(plan.backward, masks);
        }
      }
    }
  }
}

TEST(TileBatches, DocumentsBecomeAFewBatchesAndLeaveNothing) {
  std::size_t most = 0;
  for_random_plans({}, [&](const ExchangePlan& plan, const std::vector<AttentionMask>& masks) {
    most = std::max(most, expect_same_cells(plan, std::ssize(masks)));
    // One document is a dense mask, of which a gather attends with parts of the heads; batches are not made of these.
    const bool dense = masks.size() == 1 && masks.front().dense();
    for (const StepTiles& step : tile_batches(plan)) {
      EXPECT_THAT(step.rest, Each(Field(&Attend::heads, Ne(HeadPart::all))));
      if (!dense) {
        EXPECT_THAT(step.rest, IsEmpty());
      }
    }
  });
  // Squares, then what a second range of queries sees of a first, from each of an owner's two ranges.
  EXPECT_LE(most, 6u);
}

TEST(TileBatches, WindowsAreLeftOver) {
  for_random_plans({.left = 3}, [](const ExchangePlan& plan, const std::vector<AttentionMask>& masks) {
    expect_same_cells(plan, std::ssize(masks));
  });
  const std::vector<AttentionMask> masks = {{40, true, {.left = 3}, {20}}};
  const SequenceLayout layout = contiguous_layout(40, 1);
  const auto steps = tile_batches(plan_p2p({layout, masks}, 0).forward);
  ASSERT_THAT(steps, SizeIs(1));
  EXPECT_THAT(steps[0].batches, IsEmpty());
  EXPECT_THAT(steps[0].rest, SizeIs(2));
}

TEST(TileBatches, OneRanksCausalDocumentsAreOneBatch) {
  // Two tokens that are documents of their own are no reason for a second batch.
  const std::vector<AttentionMask> masks = {{30, true, {}, {10, 11, 12, 20}}, {30, true, {}, {29}}};
  const SequenceLayout layout = contiguous_layout(30, 1);
  const auto steps = tile_batches(plan_p2p({layout, masks}, 0).forward);
  ASSERT_THAT(steps, SizeIs(1));
  ASSERT_THAT(steps[0].batches, SizeIs(1));
  const TileBatch& batch = *steps[0].batches[0];
  EXPECT_TRUE(batch.causal);
  EXPECT_THAT(batch.tiles, SizeIs(7));
  EXPECT_EQ(batch.cover.q, (PositionRange{0, 30}));
  EXPECT_EQ(batch.cover.kv, (PositionRange{0, 30}));
  EXPECT_EQ(batch.cover.sample, kEverySample);
}

TEST(TileBatches, RowsOfABatchCameInOneMessage) {
  for_random_plans({}, [](const ExchangePlan& plan, const std::vector<AttentionMask>&) {
    const std::vector<StepTiles> steps = tile_batches(plan);
    std::map<int, std::vector<PositionRange>> arrived;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      for (const auto& batch : steps[i].batches) {
        const Attend& cover = batch->cover;
        if (!arrived.contains(cover.owner)) continue;
        int pieces = 0;
        for (const PositionRange& rows : arrived[cover.owner]) pieces += intersection(rows, cover.kv) == cover.kv;
        EXPECT_EQ(pieces, 1);
      }
      for (const Message& message : plan.steps[i].receives) {
        if (message.payload == Payload::key_value) arrived[message.owner].push_back(message.rows);
      }
    }
  });
}

// No plan of today has these: triangles that are no squares, and rows that see nothing.
TEST(TileBatches, EveryTriangleIsCutIntoSquaresAndRectangles) {
  for (std::int64_t queries = 1; queries <= 6; ++queries) {
    for (std::int64_t keys = 1; keys <= 6; ++keys) {
      for (std::int64_t right = -7; right <= 7; ++right) {
        ExchangePlan plan{0, 1, {Step{}}};
        plan.steps[0].attends.push_back({{3, 3 + queries}, 0, {5, 5 + keys}, {Band::kUnbounded, right}, kEverySample});
        expect_same_cells(plan, 2);
        EXPECT_THAT(tile_batches(plan)[0].rest, IsEmpty());
      }
    }
  }
}

// Results of a batch are of all rows between its tiles.
TEST(TileBatches, KeysFarApartAreNotOneBatch) {
  const auto batches = [](std::int64_t second_kv) {
    ExchangePlan plan{0, 1, {Step{}}};
    plan.steps[0].attends.push_back({{0, 10}, kWholeSequence, {0, 50}, Band::all(), kEverySample});
    plan.steps[0].attends.push_back({{10, 20}, kWholeSequence, {second_kv, second_kv + 50}, Band::all(), kEverySample});
    expect_same_cells(plan, 1);
    return tile_batches(plan)[0].batches.size();
  };
  EXPECT_EQ(batches(1000), 1u);
  EXPECT_EQ(batches(100000), 2u);
}

TEST(TileBatches, AreTheSameEachTime) {
  const std::vector<AttentionMask> masks = random_masks(5, 50, true, {});
  const SequenceLayout layout = zigzag_layout(50, 2);
  const ExchangePlan plan = plan_p2p({layout, masks}, 1).forward;
  const auto first = tile_batches(plan), second = tile_batches(plan);
  ASSERT_EQ(first.size(), second.size());
  for (std::size_t i = 0; i < first.size(); ++i) {
    ASSERT_EQ(first[i].batches.size(), second[i].batches.size());
    for (std::size_t j = 0; j < first[i].batches.size(); ++j) {
      EXPECT_EQ(first[i].batches[j]->tiles, second[i].batches[j]->tiles);
      EXPECT_EQ(first[i].batches[j]->cover, second[i].batches[j]->cover);
    }
  }
}

}  // namespace
}  // namespace ringtron

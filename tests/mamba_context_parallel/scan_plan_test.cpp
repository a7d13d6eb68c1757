// Segments of all ranks, their links and the rows before them, against what positions alone say.
#include "ringtron/mamba_context_parallel/scan_plan.h"

#include <gmock/gmock.h>

#include <random>
#include <set>

namespace ringtron {
namespace {

using ::testing::ElementsAre;

TEST(ScanPlan, ZigzagOfTwoRanks) {
  const ScanPlan plan = scan_plan(zigzag_layout(8, 2), 1, {});
  // Rank 0: positions 0 1 6 7; rank 1: 2 3 4 5.
  EXPECT_THAT(plan.of_rank[0], ElementsAre(ScanSegment{0, 0, 2, -1, 0}, ScanSegment{0, 2, 4, 0, -1}));
  EXPECT_THAT(plan.of_rank[1], ElementsAre(ScanSegment{0, 0, 4, 0, 0}));
  EXPECT_THAT(plan.links, ElementsAre(ScanLink{0, 0, 1, 0, false, true}, ScanLink{1, 0, 0, 0, true, false}));
  EXPECT_THAT(halo_rows(plan, 1), ElementsAre(HaloRow{0, 1, 0, 1, 0, 0}, HaloRow{1, 3, 0, 0, 0, 0}));
}

TEST(ScanPlan, DocumentsCutChains) {
  const ScanPlan plan = scan_plan(contiguous_layout(8, 2), 2, {{2, 4}, {3, 7}});
  EXPECT_THAT(plan.of_rank[0], ElementsAre(ScanSegment{0, 0, 2}, ScanSegment{0, 2, 4}, ScanSegment{1, 0, 3},
                                           ScanSegment{1, 3, 4, -1, 0}));
  EXPECT_THAT(plan.of_rank[1], ElementsAre(ScanSegment{0, 0, 4}, ScanSegment{1, 0, 3, 0, -1}, ScanSegment{1, 3, 4}));
  EXPECT_THAT(halo_rows(plan, 3), ElementsAre(HaloRow{0, 3, 1, 1, 0, 2}));  // the document has but one row before
}

// Any layout and documents: each row is in one segment, and what is before its first row is where the plan says.
TEST(ScanPlan, AnyPlan) {
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    const int ranks = 1 + static_cast<int>(random() % 6);
    const std::int64_t length = 1 + static_cast<std::int64_t>(random() % 40);
    const SequenceLayout layout = i % 2 == 0 ? zigzag_layout(length, ranks) : contiguous_layout(length, ranks);
    std::vector<std::int64_t> starts;
    for (std::int64_t p = 1; p < length; ++p) {
      if (random() % 6 == 0) starts.push_back(p);
    }
    const ScanPlan plan = scan_plan(layout, 1, {starts});
    const std::set<std::int64_t> begins(starts.begin(), starts.end());
    std::size_t links = 0;
    std::int64_t next = 0;
    for (const ScanPiece& piece : plan.pieces) {
      EXPECT_EQ(piece.positions.begin, next);
      next = piece.positions.end;
      const bool begins_document = piece.positions.begin == 0 || begins.contains(piece.positions.begin);
      EXPECT_EQ(piece.begins_document, begins_document);
      links += begins_document ? 0 : 1;
    }
    EXPECT_EQ(next, length);
    EXPECT_EQ(plan.links.size(), links);
    const auto position_of = [&](int rank, std::int64_t row) {
      return slice_ranges(layout.of(rank), row, 1).front().begin;
    };
    for (const HaloRow& row : halo_rows(plan, 3)) {
      for (const ScanSegment& segment : plan.of_rank[static_cast<std::size_t>(row.to_rank)]) {
        if (segment.initial != row.to_line) continue;
        EXPECT_EQ(position_of(row.from_rank, row.from_row), position_of(row.to_rank, segment.begin) - (3 - row.place));
      }
    }
  }
}

}  // namespace
}  // namespace ringtron

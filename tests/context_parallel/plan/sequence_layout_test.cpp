#include "ringtron/context_parallel/plan/sequence_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::ThrowsMessage;

using MakeLayout = SequenceLayout (*)(std::int64_t, int, std::int64_t);
constexpr MakeLayout kLayouts[] = {zigzag_layout, contiguous_layout};

// The positions that ranks hold, counted.
std::vector<int> times_held(const SequenceLayout& layout) {
  std::vector<int> held(static_cast<std::size_t>(layout.sequence_length()), 0);
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    for (const std::int64_t position : positions_in(layout.of(rank))) ++held.at(static_cast<std::size_t>(position));
  }
  return held;
}

TEST(SequenceLayout, ZigzagOfSixteenOnFourIsMegatrons) {
  const SequenceLayout layout = zigzag_layout(16, 4);
  EXPECT_THAT(positions_in(layout.of(0)), ElementsAre(0, 1, 14, 15));
  EXPECT_THAT(positions_in(layout.of(1)), ElementsAre(2, 3, 12, 13));
  EXPECT_THAT(positions_in(layout.of(2)), ElementsAre(4, 5, 10, 11));
  EXPECT_THAT(positions_in(layout.of(3)), ElementsAre(6, 7, 8, 9));
  EXPECT_THAT(layout.of(1), ElementsAre(PositionRange{2, 4}, PositionRange{12, 14}));
  EXPECT_THAT(layout.of(3), ElementsAre(PositionRange{6, 10}));
  EXPECT_EQ(layout.sequence_length(), 16);
  EXPECT_EQ(layout.name(), "zigzag");
}

// Chunks r and 2n-1-r of 2n equal ones, wherever 2n divides the length.
TEST(SequenceLayout, ZigzagIsMegatronsWhereItDivides) {
  for (int ranks = 1; ranks <= 9; ++ranks) {
    for (const std::int64_t chunk : {1, 2, 5}) {
      const SequenceLayout layout = zigzag_layout(2 * ranks * chunk, ranks);
      for (int rank = 0; rank < ranks; ++rank) {
        std::vector<std::int64_t> expected;
        for (const int number : {rank, 2 * ranks - 1 - rank}) {
          for (std::int64_t i = 0; i < chunk; ++i) expected.push_back(number * chunk + i);
        }
        EXPECT_EQ(positions_in(layout.of(rank)), expected) << rank << " of " << ranks;
      }
    }
  }
}

TEST(SequenceLayout, ContiguousIsOneRangePerRank) {
  const SequenceLayout layout = contiguous_layout(10, 4);
  EXPECT_THAT(layout.of(0), ElementsAre(PositionRange{0, 3}));
  EXPECT_THAT(layout.of(1), ElementsAre(PositionRange{3, 6}));
  EXPECT_THAT(layout.of(2), ElementsAre(PositionRange{6, 8}));
  EXPECT_THAT(layout.of(3), ElementsAre(PositionRange{8, 10}));
  EXPECT_EQ(layout.name(), "contiguous");
}

TEST(SequenceLayout, AnyLengthIsSharedEvenly) {
  for (const std::int64_t multiple : {1, 2, 4}) {
    for (std::int64_t length = 0; length <= 60; ++length) {
      for (int ranks = 1; ranks <= 9; ++ranks) {
        for (const MakeLayout make : kLayouts) {
          const SequenceLayout layout = make(length * multiple, ranks, multiple);
          ASSERT_EQ(layout.ranks(), ranks);
          ASSERT_EQ(layout.sequence_length(), length * multiple);
          ASSERT_THAT(times_held(layout), Each(1));
          std::vector<std::int64_t> lengths;
          for (int rank = 0; rank < ranks; ++rank) lengths.push_back(layout.local_length(rank));
          const auto [least, most] = std::minmax_element(lengths.begin(), lengths.end());
          ASSERT_LE(*most - *least, multiple) << layout.name() << " " << length * multiple << " on " << ranks;
          for (const std::int64_t local : lengths) ASSERT_EQ(local % multiple, 0);
        }
      }
    }
  }
}

TEST(SequenceLayout, ARankMayHoldNothing) {
  for (const MakeLayout make : kLayouts) {
    const SequenceLayout layout = make(2, 5, 1);
    int empty = 0;
    for (int rank = 0; rank < 5; ++rank) empty += layout.of(rank).empty();
    EXPECT_EQ(empty, 3) << layout.name();
  }
}

TEST(SequenceLayout, RangesAscendAndDoNotTouch) {
  for (std::int64_t length = 0; length <= 40; ++length) {
    for (const MakeLayout make : kLayouts) {
      const SequenceLayout layout = make(length, 6, 1);
      for (int rank = 0; rank < 6; ++rank) {
        std::int64_t end = -1;
        for (const PositionRange& range : layout.of(rank)) {
          ASSERT_FALSE(range.empty());
          ASSERT_GT(range.begin, end);
          end = range.end;
        }
      }
    }
  }
}

TEST(SequenceLayout, ALengthThatIsNoMultipleSaysWhatToDo) {
  for (const MakeLayout make : kLayouts) {
    EXPECT_THAT([&] { make(10, 2, 4); },
                ThrowsMessage<ConfigError>(AllOf(HasSubstr("multiple of 4"), HasSubstr("got 10"), HasSubstr("12"))));
    EXPECT_THROW(make(-8, 4, 1), ConfigError);
    EXPECT_THROW(make(8, 0, 1), InternalError);
  }
}

TEST(SequenceLayout, MergedRanksHoldWhatTheyHeldTogether) {
  const SequenceLayout layout = zigzag_layout(16, 4);
  const SequenceLayout pairs = layout.merged(2);
  ASSERT_EQ(pairs.ranks(), 2);
  EXPECT_THAT(pairs.of(0), ElementsAre(PositionRange{0, 4}, PositionRange{12, 16}));
  EXPECT_THAT(pairs.of(1), ElementsAre(PositionRange{4, 12}));
  EXPECT_EQ(layout.merged(1), layout);
  EXPECT_THAT(layout.merged(4).of(0), ElementsAre(PositionRange{0, 16}));
  EXPECT_THAT(zigzag_layout(0, 4).merged(2).of(1), IsEmpty());
  EXPECT_THROW(layout.merged(3), InternalError);
  EXPECT_THROW(layout.merged(0), InternalError);
}

TEST(SequenceLayout, JoinsAndDropsRanges) {
  const SequenceLayout layout("own", {{{0, 2}, {2, 2}, {2, 5}}, {{5, 5}}, {{5, 6}, {6, 7}}});
  EXPECT_THAT(layout.of(0), ElementsAre(PositionRange{0, 5}));
  EXPECT_THAT(layout.of(1), IsEmpty());
  EXPECT_THAT(layout.of(2), ElementsAre(PositionRange{5, 7}));
  EXPECT_EQ(layout, SequenceLayout("another name", {{{0, 5}}, {}, {{5, 7}}}));
}

TEST(SequenceLayout, RefusesRangesThatAreNoSequence) {
  EXPECT_THROW(SequenceLayout("gap", {{{0, 2}}, {{3, 5}}}), InternalError);
  EXPECT_THROW(SequenceLayout("late", {{{1, 2}}, {{2, 5}}}), InternalError);
  EXPECT_THROW(SequenceLayout("twice", {{{0, 2}}, {{0, 2}}}), InternalError);
  EXPECT_THROW(SequenceLayout("overlap", {{{0, 3}}, {{2, 5}}}), InternalError);
  EXPECT_THROW(SequenceLayout("descending", {{{3, 5}, {0, 3}}}), InternalError);
  EXPECT_THROW(SequenceLayout("no ranks", {}), InternalError);
}

TEST(Intersection, IsEmptyWhereRangesDoNotMeet) {
  EXPECT_EQ(intersection({2, 6}, {4, 9}), (PositionRange{4, 6}));
  EXPECT_EQ(intersection({4, 9}, {2, 6}), (PositionRange{4, 6}));
  EXPECT_EQ(intersection({2, 9}, {4, 6}), (PositionRange{4, 6}));
  for (const auto& [a, b] :
       {std::pair<PositionRange, PositionRange>{{0, 2}, {5, 7}}, {{5, 7}, {0, 2}}, {{0, 2}, {2, 4}}}) {
    EXPECT_TRUE(intersection(a, b).empty());
    EXPECT_EQ(intersection(a, b).length(), 0);
  }
}

TEST(PositionsIn, AndRangesOfAreInverse) {
  const std::vector<PositionRange> ranges = {{2, 5}, {10, 11}, {0, 2}};
  EXPECT_THAT(positions_in(ranges), ElementsAre(2, 3, 4, 10, 0, 1));
  EXPECT_EQ(total_length(ranges), 6);
  EXPECT_EQ(ranges_of(positions_in(ranges)), ranges);
  EXPECT_THAT(ranges_of(std::vector<std::int64_t>{3, 3}), ElementsAre(PositionRange{3, 4}, PositionRange{3, 4}));
  EXPECT_THAT(positions_in(zigzag_layout(1, 3).of(2)), IsEmpty());
}

TEST(AppendRange, JoinsOnlyWhatTouches) {
  std::vector<PositionRange> ranges;
  for (const PositionRange& range :
       {PositionRange{0, 2}, PositionRange{2, 5}, PositionRange{4, 6}, PositionRange{7, 8}})
    append_range(ranges, range);
  EXPECT_THAT(ranges, ElementsAre(PositionRange{0, 5}, PositionRange{4, 6}, PositionRange{7, 8}));
}

TEST(SliceRanges, CutsAcrossGaps) {
  const PositionRange ranges[] = {{2, 5}, {10, 14}};
  EXPECT_THAT(slice_ranges(ranges, 0, 7), ElementsAre(PositionRange{2, 5}, PositionRange{10, 14}));
  EXPECT_THAT(slice_ranges(ranges, 1, 3), ElementsAre(PositionRange{3, 5}, PositionRange{10, 11}));
  EXPECT_THAT(slice_ranges(ranges, 3, 2), ElementsAre(PositionRange{10, 12}));
  EXPECT_THAT(slice_ranges(ranges, 2, 0), ElementsAre());
  EXPECT_THROW(slice_ranges(ranges, 5, 3), InternalError);
}

}  // namespace
}  // namespace ringtron

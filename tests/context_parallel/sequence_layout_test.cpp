#include "ringtron/context_parallel/sequence_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ringtron/base/error.h"
#include "ringtron/context_parallel/batch_slice.h"

namespace ringtron {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(SequenceLayout, ZigzagOfSixteenOnFour) {
  const SequenceLayout layout = zigzag_layout(16, 4);
  EXPECT_THAT(local_positions(layout, 0), ElementsAre(0, 1, 14, 15));
  EXPECT_THAT(local_positions(layout, 1), ElementsAre(2, 3, 12, 13));
  EXPECT_THAT(local_positions(layout, 2), ElementsAre(4, 5, 10, 11));
  EXPECT_THAT(local_positions(layout, 3), ElementsAre(6, 7, 8, 9));
  EXPECT_THAT(layout.of(1), ElementsAre(Chunk{1, {2, 4}}, Chunk{6, {12, 14}}));
  EXPECT_EQ(layout.local_length(), 4);
  EXPECT_EQ(layout.chunk_count(), 8);
}

TEST(SequenceLayout, OneRankHoldsOneChunkOfAnyLength) {
  for (const std::int64_t length : {1, 7, 64}) {
    EXPECT_THAT(zigzag_layout(length, 1).of(0), ElementsAre(Chunk{0, {0, length}}));
  }
}

TEST(SequenceLayout, EveryPositionIsHeldOnce) {
  for (int ranks = 1; ranks <= 16; ++ranks) {
    for (const SequenceLayout& layout : {zigzag_layout(6 * ranks, ranks), contiguous_layout(6 * ranks, ranks)}) {
      std::vector<int> held(static_cast<std::size_t>(layout.sequence_length()), 0);
      for (int rank = 0; rank < ranks; ++rank) {
        for (const std::int64_t position : local_positions(layout, rank)) ++held.at(position);
      }
      EXPECT_THAT(held, ::testing::Each(1)) << layout.name() << " on " << ranks;
    }
  }
}

TEST(SequenceLayout, RowsAndPositionsOfASpan) {
  const SequenceLayout layout = zigzag_layout(24, 3);
  EXPECT_EQ(layout.rows(1, {1, 1}), (PositionRange{4, 8}));
  EXPECT_EQ(layout.rows(1, {0, 2}), (PositionRange{0, 8}));
  EXPECT_THAT(layout.positions(1, {0, 2}), ElementsAre(PositionRange{4, 8}, PositionRange{16, 20}));
  EXPECT_THROW(layout.rows(1, {1, 2}), InternalError);
}

TEST(SequenceLayout, LengthThatDoesNotDivideSaysWhatToDo) {
  EXPECT_THAT([] { zigzag_layout(1010, 4); },
              ThrowsMessage<ConfigError>(AllOf(HasSubstr("multiple of 8"), HasSubstr("context-parallel-size 4"),
                                               HasSubstr("got 1010"), HasSubstr("Pad to 1016"))));
  EXPECT_THAT([] { contiguous_layout(10, 4); }, ThrowsMessage<ConfigError>(HasSubstr("Pad to 12")));
  EXPECT_THROW(zigzag_layout(0, 1), ConfigError);
  EXPECT_THROW(zigzag_layout(-8, 4), ConfigError);
}

TEST(SequenceLayout, RefusesChunksThatAreNoSequence) {
  EXPECT_THROW(SequenceLayout("gap", {{{0, {0, 2}}}, {{1, {3, 5}}}}), InternalError);
  EXPECT_THROW(SequenceLayout("twice", {{{0, {0, 2}}}, {{0, {0, 2}}}}), InternalError);
  EXPECT_THROW(SequenceLayout("uneven", {{{0, {0, 2}}}, {{1, {2, 3}}}}), InternalError);
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

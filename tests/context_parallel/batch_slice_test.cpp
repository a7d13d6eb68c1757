#include "ringtron/context_parallel/batch_slice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

using ::testing::ElementsAre;

TEST(BatchSlice, TwoRangesPerRankAndOneWhereTheyTouch) {
  const SequenceLayout layout = zigzag_layout(16, 4);
  EXPECT_THAT(batch_slice(layout, 0), ElementsAre(PositionRange{0, 2}, PositionRange{14, 16}));
  EXPECT_THAT(batch_slice(layout, 3), ElementsAre(PositionRange{6, 10}));
  EXPECT_THAT(batch_slice(zigzag_layout(5, 1), 0), ElementsAre(PositionRange{0, 5}));
}

TEST(BatchSlice, CutsARow) {
  std::vector<int> row(16);
  std::iota(row.begin(), row.end(), 100);
  const SequenceLayout layout = zigzag_layout(16, 4);
  EXPECT_THAT(slice_row<int>(row, layout, 1), ElementsAre(102, 103, 112, 113));
  row.pop_back();
  EXPECT_THROW(slice_row<int>(row, layout, 1), InternalError);
}

}  // namespace
}  // namespace ringtron

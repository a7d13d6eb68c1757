#include "ringtron/context_parallel/plan/batch_slice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

using ::testing::ElementsAre;

std::vector<int> numbered(std::size_t length) {
  std::vector<int> row(length);
  std::iota(row.begin(), row.end(), 100);
  return row;
}

TEST(BatchSlice, CutsARow) {
  std::vector<int> row = numbered(16);
  const SequenceLayout layout = zigzag_layout(16, 4);
  EXPECT_THAT(slice_row<int>(row, layout, 1), ElementsAre(102, 103, 112, 113));
  EXPECT_THAT(slice_row<int>(row, layout, 3), ElementsAre(106, 107, 108, 109));
  row.pop_back();
  EXPECT_THROW(slice_row<int>(row, layout, 1), InternalError);
}

TEST(BatchSlice, TheSlicesOfAnyLengthAreTheRow) {
  for (const std::size_t length : {0, 1, 3, 11}) {
    const std::vector<int> row = numbered(length);
    for (const SequenceLayout& layout : {zigzag_layout(row.size(), 4), contiguous_layout(row.size(), 4)}) {
      std::vector<int> whole(length, -1);
      for (int rank = 0; rank < 4; ++rank) {
        const std::vector<int> slice = slice_row<int>(row, layout, rank);
        const std::vector<std::int64_t> positions = local_positions(layout, rank);
        ASSERT_EQ(slice.size(), positions.size());
        for (std::size_t i = 0; i < slice.size(); ++i) whole.at(static_cast<std::size_t>(positions[i])) = slice[i];
      }
      EXPECT_EQ(whole, row);
    }
  }
}

TEST(BatchSlice, OfARankWithoutPositionsIsEmpty) {
  const std::vector<int> row = numbered(1);
  int empty = 0;
  for (int rank = 0; rank < 3; ++rank) empty += slice_row<int>(row, zigzag_layout(1, 3), rank).empty();
  EXPECT_EQ(empty, 2);
}

}  // namespace
}  // namespace ringtron

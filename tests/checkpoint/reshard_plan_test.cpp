// All ways of cutting small tensors against an element-by-element copy.
#include "ringtron/checkpoint/reshard_plan.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/checkpoint/toy_state.h"

namespace ringtron {
namespace {

using testing::Cut;
using testing::ToyTensor;

ToyTensor numbered(const Shape& shape) {
  ToyTensor tensor{"t", DType::i16, shape, Cut::replicated, {}};
  for (std::int64_t i = 0; i < *element_count(shape); ++i) {
    tensor.bytes.push_back(static_cast<std::byte>(i & 0xff));
    tensor.bytes.push_back(static_cast<std::byte>(i >> 8));
  }
  return tensor;
}

// Cuts dim `dim` after every `step` rows; the last piece may be shorter.
std::vector<Slab> cut_every(const Shape& shape, int dim, std::int64_t step) {
  std::vector<Slab> slabs;
  const std::int64_t rows = rows_along(shape, dim);
  for (std::int64_t at = 0; at < rows; at += step) slabs.push_back({dim, at, std::min(step, rows - at)});
  return slabs;
}

bool reshards(const ToyTensor& tensor, const std::vector<Slab>& pieces, const Slab& wanted, bool swap_first_two) {
  std::vector<std::vector<std::byte>> stored;
  for (const Slab& piece : pieces) stored.push_back(slab_bytes(tensor, piece));
  if (swap_first_two) std::swap(stored[0], stored[1]);
  const auto expected = slab_bytes(tensor, wanted);
  std::vector<std::byte> got(expected.size(), std::byte{0xee});
  for (const StridedCopy& copy : plan_reshard(tensor.shape, pieces, wanted)) {
    run_copy(copy, size_of(tensor.dtype), stored[copy.piece], got);
  }
  return got == expected;
}

TEST(ReshardPlan, EveryCutOfEveryDimGivesEverySlab) {
  int cases = 0;
  for (const Shape& shape : {Shape{12}, Shape{6, 5}, Shape{3, 4, 5}, Shape{2, 3, 4, 3}, Shape{1, 1}}) {
    const ToyTensor tensor = numbered(shape);
    for (int from = 0; from < static_cast<int>(shape.size()); ++from) {
      for (const std::int64_t step : {1, 2, 3, 100}) {
        const auto pieces = cut_every(shape, from, step);
        for (int to = 0; to < static_cast<int>(shape.size()); ++to) {
          for (std::int64_t offset = 0; offset <= shape[static_cast<std::size_t>(to)]; ++offset) {
            for (std::int64_t length = 0; offset + length <= shape[static_cast<std::size_t>(to)]; ++length) {
              EXPECT_TRUE(reshards(tensor, pieces, {to, offset, length}, false))
                  << to_string(shape) << " cut along " << from << " every " << step << ", wanted "
                  << to_string(Slab{to, offset, length});
              ++cases;
            }
          }
        }
      }
    }
  }
  EXPECT_GT(cases, 1000);
}

TEST(ReshardPlan, SwappedPiecesAreNoticed) {  // negative control of the test above
  const ToyTensor tensor = numbered({6, 5});
  EXPECT_FALSE(reshards(tensor, cut_every({6, 5}, 0, 2), {0, 0, 6}, true));
  EXPECT_FALSE(reshards(tensor, cut_every({6, 5}, 1, 1), {0, 1, 2}, true));
}

TEST(ReshardPlan, UntouchedPiecesAreNotRead) {
  const auto plan = plan_reshard({8, 2}, cut_every({8, 2}, 0, 2), {0, 2, 2});
  ASSERT_EQ(plan.size(), 1u);
  EXPECT_EQ(plan[0].piece, 1u);
}

TEST(ReshardPlan, ScalarIsOneRow) {
  const ToyTensor tensor = numbered({});
  EXPECT_TRUE(reshards(tensor, {whole_slab({})}, whole_slab({}), false));
}

}  // namespace
}  // namespace ringtron

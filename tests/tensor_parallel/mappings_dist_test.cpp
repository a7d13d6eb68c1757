// Each mapping, forward and backward, against sums and slices of what all ranks hold.
#include "ringtron/tensor_parallel/mappings.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/comm/decorators/checked_communicator.h"
#include "tests/support/multi_rank.h"
#include "tests/support/random_tensor.h"
#include "tests/support/tensor_near.h"
#include "tests/tensor_parallel/shares.h"

namespace ringtron {
namespace {

using testing::kOtherOrder;
using testing::share;

using Mapping = at::Tensor (*)(const at::Tensor& x, Communicator& group);

// What rank 0, 1, ... holds; all ranks know it.
std::vector<at::Tensor> on_all_ranks(at::IntArrayRef sizes, int size, std::uint64_t key) {
  std::vector<at::Tensor> list;
  for (int rank = 0; rank < size; ++rank) list.push_back(testing::random_tensor(sizes, key + rank));
  return list;
}

at::Tensor sum(const std::vector<at::Tensor>& list) { return at::stack(list).sum(0); }

struct Result {
  at::Tensor y, dx;
};

Result run(Mapping mapping, const at::Tensor& input, const at::Tensor& dy, Communicator& group) {
  const at::Tensor x = testing::leaf(input);
  const at::Tensor y = mapping(x, group);
  y.backward(dy);
  return {y, x.grad()};
}

// Rows 0 are legal too; 8 rows divide by all sizes.
constexpr std::int64_t kRows[] = {0, 8};

DIST_TEST(Mappings, CopyToTensorRegion, 1, 2, 4) {
  CheckedCommunicator group(ranks.world(), ranks.world());
  for (const std::int64_t rows : kRows) {
    const auto x = on_all_ranks({rows, 2, 3}, group.size(), 1), dy = on_all_ranks({rows, 2, 3}, group.size(), 50);
    const Result got = run(copy_to_tensor_region, x[group.rank()], dy[group.rank()], group);
    EXPECT_TENSOR_EQUAL(got.y, x[group.rank()]);
    EXPECT_TENSOR_NEAR(got.dx, sum(dy), kOtherOrder);
  }
}

DIST_TEST(Mappings, ReduceFromTensorRegion, 1, 2, 4) {
  CheckedCommunicator group(ranks.world(), ranks.world());
  for (const std::int64_t rows : kRows) {
    const auto x = on_all_ranks({rows, 2, 3}, group.size(), 1), dy = on_all_ranks({rows, 2, 3}, group.size(), 50);
    const Result got = run(reduce_from_tensor_region, x[group.rank()], dy[group.rank()], group);
    EXPECT_TENSOR_NEAR(got.y, sum(x), kOtherOrder);
    EXPECT_TENSOR_EQUAL(got.dx, dy[group.rank()]);
  }
}

DIST_TEST(Mappings, ScatterToSequenceRegion, 1, 2, 4) {
  CheckedCommunicator group(ranks.world(), ranks.world());
  for (const std::int64_t rows : kRows) {
    const auto x = on_all_ranks({rows, 2, 3}, group.size(), 1);
    const auto dy = on_all_ranks({rows / group.size(), 2, 3}, group.size(), 50);
    const Result got = run(scatter_to_sequence_region, x[group.rank()], dy[group.rank()], group);
    EXPECT_TENSOR_EQUAL(got.y, share(x[group.rank()], 0, group));
    EXPECT_TENSOR_EQUAL(got.dx, at::cat(dy));
  }
}

DIST_TEST(Mappings, GatherFromSequenceRegion, 1, 2, 4) {
  CheckedCommunicator group(ranks.world(), ranks.world());
  for (const std::int64_t rows : kRows) {
    const auto x = on_all_ranks({rows / group.size(), 2, 3}, group.size(), 1);
    const auto dy = on_all_ranks({rows, 2, 3}, group.size(), 50);
    const Result got = run(gather_from_sequence_region, x[group.rank()], dy[group.rank()], group);
    EXPECT_TENSOR_EQUAL(got.y, at::cat(x));
    EXPECT_TENSOR_NEAR(got.dx, share(sum(dy), 0, group), kOtherOrder);
  }
}

DIST_TEST(Mappings, ReduceScatterToSequenceRegion, 1, 2, 4) {
  CheckedCommunicator group(ranks.world(), ranks.world());
  for (const std::int64_t rows : kRows) {
    const auto x = on_all_ranks({rows, 2, 3}, group.size(), 1);
    const auto dy = on_all_ranks({rows / group.size(), 2, 3}, group.size(), 50);
    const Result got = run(reduce_scatter_to_sequence_region, x[group.rank()], dy[group.rank()], group);
    EXPECT_TENSOR_NEAR(got.y, share(sum(x), 0, group), kOtherOrder);
    EXPECT_TENSOR_EQUAL(got.dx, at::cat(dy));
  }
}

DIST_TEST(Mappings, WrongOrderOfRanksIsNoticed, 2, 4) {  // negative control
  Communicator& group = ranks.world();
  const auto x = on_all_ranks({2, 2, 3}, group.size(), 1);
  std::vector<at::Tensor> swapped = x;
  std::swap(swapped[0], swapped[1]);
  EXPECT_FALSE(
      testing::tensor_near(gather_from_sequence_region(x[group.rank()], group), at::cat(swapped), kOtherOrder));
  const auto whole = on_all_ranks({8, 2, 3}, group.size(), 1);
  EXPECT_FALSE(testing::tensor_near(reduce_scatter_to_sequence_region(whole[group.rank()], group),
                                    testing::foreign_share(sum(whole), 0, group), kOtherOrder));
}

DIST_TEST(Mappings, InputStaysAsItWas, 2) {
  Communicator& group = ranks.world();
  const at::Tensor x = testing::random_tensor({4, 2, 3}, group.rank()), before = x.clone();
  const at::Tensor strided = testing::random_tensor({2, 4, 3}, group.rank()).transpose(0, 1);
  for (const Mapping mapping : {copy_to_tensor_region, reduce_from_tensor_region, scatter_to_sequence_region,
                                gather_from_sequence_region, reduce_scatter_to_sequence_region}) {
    mapping(x, group);
    EXPECT_TENSOR_EQUAL(x, before);
    EXPECT_TENSOR_EQUAL(mapping(strided, group).clone(), mapping(strided.contiguous(), group).clone());
  }
}

DIST_TEST(Mappings, GroupOfOneIsTheIdentity, 1) {
  const at::Tensor x = testing::random_tensor({3, 2, 3}, 1);
  for (const Mapping mapping :
       {copy_to_tensor_region, reduce_from_tensor_region, scatter_to_sequence_region, gather_from_sequence_region,
        reduce_scatter_to_sequence_region, all_gather_rows, reduce_scatter_rows})
    EXPECT_TRUE(mapping(x, ranks.world()).is_same(x));
}

DIST_TEST(Mappings, RowsThatDoNotDivide, 2, 4) {
  const at::Tensor x = testing::random_tensor({5, 2, 3}, 1);
  const std::string sentence = fmt::format("group's {} ranks divide, got 5 on rank {}", ranks.size(), ranks.rank());
  for (const Mapping mapping : {scatter_to_sequence_region, reduce_scatter_to_sequence_region, reduce_scatter_rows}) {
    EXPECT_THAT([&] { mapping(x, ranks.world()); },
                ::testing::ThrowsMessage<InternalError>(::testing::HasSubstr(sentence)));
  }
  EXPECT_EQ(all_gather_rows(x, ranks.world()).size(0), 5 * ranks.size());  // nothing was left half-done
}

}  // namespace
}  // namespace ringtron

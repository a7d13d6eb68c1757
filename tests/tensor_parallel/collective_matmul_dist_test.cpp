// Products in pieces of rows equal the product of all rows, also where pieces differ in size or have no rows.
#include "ringtron/tensor_parallel/collective_matmul.h"

#include <ATen/ATen.h>

#include "ringtron/comm/decorators/checked_communicator.h"
#include "tests/support/multi_rank.h"
#include "tests/support/random_tensor.h"
#include "tests/support/tensor_near.h"
#include "tests/tensor_parallel/shares.h"

namespace ringtron {
namespace {

using testing::foreign_share;
using testing::random_tensor;
using testing::share;

constexpr std::int64_t kIn = 7, kOut = 6;
constexpr double kSame = 1e-13;

// x: the same on all ranks, `rows` of the sequence for each.
at::Tensor input(std::int64_t rows, std::int64_t batch, const Communicator& group) {
  return random_tensor({rows * group.size(), batch, kIn}, 1);
}
// What the rank adds to a sum.
at::Tensor share_of_sum(std::int64_t rows, std::int64_t batch, int rank, const Communicator& group) {
  return random_tensor({rows * group.size(), batch, kIn}, 10 + static_cast<std::uint64_t>(rank));
}
at::Tensor weight_of(int rank) { return random_tensor({kIn, kOut}, 100 + static_cast<std::uint64_t>(rank)); }

DIST_TEST(CollectiveMatmul, GatheredRowsEqualTheWholeProduct, 1, 2, 3, 4) {
  CheckedCommunicator group(ranks.world(), ranks.world());
  const at::Tensor weight = weight_of(group.rank());
  for (const std::int64_t rows : {0, 1, 2, 3, 5}) {
    for (const std::int64_t batch : {0, 1, 3}) {
      for (const at::Tensor& bias : {at::Tensor(), random_tensor({kOut}, 2)}) {
        const at::Tensor x = input(rows, batch, group);
        RowGather gather(share(x, 0, group), group);
        const at::Tensor y = all_gather_matmul(gather, weight, bias);
        EXPECT_TENSOR_NEAR(y, at::linear(x, weight.t(), bias), kSame) << rows << " rows, batch " << batch;
        EXPECT_TENSOR_NEAR(gather.whole(), x, 0.0);
      }
    }
  }
}

DIST_TEST(CollectiveMatmul, ScatteredRowsEqualTheSumOfProducts, 1, 2, 3, 4) {
  CheckedCommunicator group(ranks.world(), ranks.world());
  for (const std::int64_t rows : {0, 1, 2, 3, 5}) {
    for (const std::int64_t batch : {0, 1, 3}) {
      at::Tensor sum = at::zeros({rows * group.size(), batch, kOut}, at::kDouble);
      for (int rank = 0; rank < group.size(); ++rank)
        sum += at::matmul(share_of_sum(rows, batch, rank, group), weight_of(rank));
      const at::Tensor y =
          matmul_reduce_scatter(share_of_sum(rows, batch, group.rank(), group), weight_of(group.rank()), group);
      EXPECT_TENSOR_NEAR(y, share(sum, 0, group), kSame) << rows << " rows, batch " << batch;
    }
  }
}

DIST_TEST(CollectiveMatmul, RowsOfAnotherRankAreNoticed, 2, 4) {  // negative control
  Communicator& group = ranks.world();
  const at::Tensor x = input(3, 2, group), weight = weight_of(0);
  RowGather gather(foreign_share(x, 0, group), group);
  EXPECT_FALSE(testing::tensor_near(all_gather_matmul(gather, weight, {}), at::matmul(x, weight), kSame));
}

DIST_TEST(CollectiveMatmul, AMissingShareIsNoticed, 2, 4) {  // negative control, of one rank's share in all sums
  Communicator& group = ranks.world();
  at::Tensor sum = at::zeros({3 * group.size(), 2, kOut}, at::kDouble);
  for (int rank = 0; rank < group.size(); ++rank) sum += at::matmul(share_of_sum(3, 2, rank, group), weight_of(rank));
  const at::Tensor x = share_of_sum(3, 2, group.rank(), group);
  const at::Tensor y = matmul_reduce_scatter(group.rank() == 1 ? at::zeros_like(x) : x, weight_of(group.rank()), group);
  EXPECT_FALSE(testing::tensor_near(y, share(sum, 0, group), kSame));
}

}  // namespace
}  // namespace ringtron

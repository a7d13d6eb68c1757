// Column and row parallel layers: outputs and all gradients equal those of one process.
#include "ringtron/tensor_parallel/linear.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "ringtron/comm/decorators/checked_communicator.h"
#include "ringtron/comm/decorators/counting_communicator.h"
#include "ringtron/tensor_parallel/mappings.h"
#include "tests/support/late_works.h"
#include "tests/support/multi_rank.h"
#include "tests/support/random_tensor.h"
#include "tests/support/tensor_near.h"
#include "tests/tensor_parallel/shares.h"

namespace ringtron {
namespace {

using testing::foreign_share;
using testing::kOtherOrder;
using testing::leaf;
using testing::random_tensor;
using testing::share;

constexpr std::int64_t kSequence = 8, kNarrow = 5, kWide = 12;

// One linear layer of one process, forward and backward. The same on every rank.
struct Whole {
  at::Tensor x, weight, bias, y, dy;

  Whole(std::int64_t batch, std::int64_t in, std::int64_t out, bool with_bias) {
    x = leaf(random_tensor({kSequence, batch, in}, 1));
    weight = leaf(random_tensor({out, in}, 2));
    if (with_bias) bias = leaf(random_tensor({out}, 3));
    dy = random_tensor({kSequence, batch, out}, 4);
    y = at::linear(x, weight, bias);
    y.backward(dy);
  }
};

at::Tensor summed(const at::Tensor& x, Communicator& group) {
  at::Tensor out = x.clone();
  group.all_reduce(out).wait();
  return out;
}

void check_column(Communicator& group, bool sequence_parallel, const Whole& whole) {
  const auto rows = [&](const at::Tensor& t) { return sequence_parallel ? share(t, 0, group) : t.detach(); };
  const at::Tensor x = leaf(rows(whole.x)), weight = leaf(share(whole.weight, 0, group));
  const at::Tensor bias = whole.bias.defined() ? leaf(share(whole.bias, 0, group)) : at::Tensor();
  const at::Tensor y = column_parallel_linear(x, weight, bias, group, sequence_parallel);
  EXPECT_TENSOR_NEAR(y, share(whole.y, 2, group), kOtherOrder);
  y.backward(share(whole.dy, 2, group));
  EXPECT_TENSOR_NEAR(x.grad(), rows(whole.x.grad()), kOtherOrder);
  EXPECT_TENSOR_NEAR(weight.grad(), share(whole.weight.grad(), 0, group), kOtherOrder);
  if (bias.defined()) {
    EXPECT_TENSOR_NEAR(bias.grad(), share(whole.bias.grad(), 0, group), kOtherOrder);
  }
}

void check_row(Communicator& group, bool sequence_parallel, const Whole& whole) {
  const auto rows = [&](const at::Tensor& t) { return sequence_parallel ? share(t, 0, group) : t.detach(); };
  const at::Tensor x = leaf(share(whole.x, 2, group)), weight = leaf(share(whole.weight, 1, group));
  const at::Tensor bias = whole.bias.defined() ? leaf(whole.bias) : at::Tensor();
  const at::Tensor y = row_parallel_linear(x, weight, bias, group, sequence_parallel);
  EXPECT_TENSOR_NEAR(y, rows(whole.y), kOtherOrder);
  y.backward(rows(whole.dy));
  EXPECT_TENSOR_NEAR(x.grad(), share(whole.x.grad(), 2, group), kOtherOrder);
  EXPECT_TENSOR_NEAR(weight.grad(), share(whole.weight.grad(), 1, group), kOtherOrder);
  if (!bias.defined()) return;
  const at::Tensor db = sequence_parallel ? summed(bias.grad(), group) : bias.grad();
  EXPECT_TENSOR_NEAR(db, whole.bias.grad(), kOtherOrder);
}

DIST_TEST(ColumnParallelLinear, EqualsOneProcess, 1, 2, 4) {
  CheckedCommunicator group(ranks.world(), ranks.world());
  for (const bool sequence_parallel : {false, true}) {
    for (const bool with_bias : {false, true}) {
      for (const std::int64_t batch : {0, 1, 3})
        check_column(group, sequence_parallel, Whole(batch, kNarrow, kWide, with_bias));
    }
  }
}

DIST_TEST(RowParallelLinear, EqualsOneProcess, 1, 2, 4) {
  CheckedCommunicator group(ranks.world(), ranks.world());
  for (const bool sequence_parallel : {false, true}) {
    for (const bool with_bias : {false, true}) {
      for (const std::int64_t batch : {0, 1, 3})
        check_row(group, sequence_parallel, Whole(batch, kWide, kNarrow, with_bias));
    }
  }
}

DIST_TEST(ColumnThenRow, EqualsOneProcess, 1, 2, 4) {
  CheckedCommunicator group(ranks.world(), ranks.world());
  const at::Tensor x = leaf(random_tensor({kSequence, 2, kNarrow}, 1));
  const at::Tensor up = leaf(random_tensor({kWide, kNarrow}, 2)), down = leaf(random_tensor({kNarrow, kWide}, 3));
  const at::Tensor dy = random_tensor({kSequence, 2, kNarrow}, 4);
  const at::Tensor y = at::linear(at::gelu(at::linear(x, up)), down);
  y.backward(dy);
  for (const bool sequence_parallel : {false, true}) {
    const auto rows = [&](const at::Tensor& t) { return sequence_parallel ? share(t, 0, group) : t.detach(); };
    const at::Tensor my_x = leaf(rows(x)), my_up = leaf(share(up, 0, group)), my_down = leaf(share(down, 1, group));
    const at::Tensor middle = at::gelu(column_parallel_linear(my_x, my_up, {}, group, sequence_parallel));
    const at::Tensor got = row_parallel_linear(middle, my_down, {}, group, sequence_parallel);
    EXPECT_TENSOR_NEAR(got, rows(y), kOtherOrder);
    got.backward(rows(dy));
    EXPECT_TENSOR_NEAR(my_x.grad(), rows(x.grad()), kOtherOrder);
    EXPECT_TENSOR_NEAR(my_up.grad(), share(up.grad(), 0, group), kOtherOrder);
    EXPECT_TENSOR_NEAR(my_down.grad(), share(down.grad(), 1, group), kOtherOrder);
  }
}

DIST_TEST(ParallelLinear, WrongOrderOfShardsIsNoticed, 2, 4) {  // negative control
  Communicator& group = ranks.world();
  const Whole column(3, kNarrow, kWide, false), row(3, kWide, kNarrow, false);
  const at::Tensor y =
      column_parallel_linear(column.x.detach(), foreign_share(column.weight, 0, group), {}, group, false);
  EXPECT_FALSE(testing::tensor_near(y, share(column.y, 2, group), kOtherOrder));
  const at::Tensor z =
      column_parallel_linear(foreign_share(column.x, 0, group), share(column.weight, 0, group), {}, group, true);
  EXPECT_FALSE(testing::tensor_near(z, share(column.y, 2, group), kOtherOrder));
  const at::Tensor w =
      row_parallel_linear(share(row.x, 2, group), foreign_share(row.weight, 1, group), {}, group, false);
  EXPECT_FALSE(testing::tensor_near(w, row.y, kOtherOrder));
}

DIST_TEST(ParallelLinear, AChangedGradientIsNoticed, 2,
          4) {  // negative control: x's gradient needs every rank's part
  Communicator& group = ranks.world();
  const Whole whole(3, kNarrow, kWide, false);
  const at::Tensor x = leaf(whole.x), weight = share(whole.weight, 0, group);
  const at::Tensor dy = group.rank() == 0 ? at::zeros_like(share(whole.dy, 2, group)) : share(whole.dy, 2, group);
  column_parallel_linear(x, weight, {}, group, false).backward(dy);
  EXPECT_FALSE(testing::tensor_near(x.grad(), whole.x.grad(), kOtherOrder));
}

// With sequence parallelism as many bytes travel as by collectives, in exchanges; the result must not hide one more.
DIST_TEST(ParallelLinear, UsesTheCollectivesItPromises, 2) {
  CountingCommunicator group(ranks.world());
  const auto collectives = [&] { return group.counts().all_gather.calls + group.counts().reduce_scatter.calls; };
  constexpr std::int64_t kBatch = 3, kHalf = kSequence / 2 * kBatch * std::int64_t{sizeof(double)};  // rows of one rank
  const Whole column(kBatch, kNarrow, kWide, true), row(kBatch, kWide, kNarrow, true);
  check_column(group, false, column);  // backward only
  EXPECT_EQ(group.counts().all_reduce.calls, 1);
  EXPECT_EQ(collectives() + group.counts().exchange.calls, 0);
  group.reset();
  check_column(group, true, column);  // x forward, x again and dx backward
  EXPECT_EQ(group.counts().exchange.bytes, 3 * kHalf * kNarrow);
  EXPECT_EQ(group.counts().exchange.calls, 1 + 1 + 2);
  EXPECT_EQ(collectives() + group.counts().all_reduce.calls, 0);
  group.reset();
  check_row(group, false, row);  // forward only
  EXPECT_EQ(group.counts().all_reduce.calls, 1);
  EXPECT_EQ(collectives() + group.counts().exchange.calls, 0);
  group.reset();
  check_row(group, true, row);  // forward, backward, and the test's own sum of the bias gradient
  EXPECT_EQ(group.counts().exchange.bytes, 2 * kHalf * kNarrow);
  EXPECT_EQ(group.counts().exchange.calls, 2 + 1);
  EXPECT_EQ(collectives(), 0);
  EXPECT_EQ(group.counts().all_reduce.calls, 1);
}

// Nothing arrives, and nothing is summed, before it is waited for.
DIST_TEST(ParallelLinear, WaitsForWhatItUses, 2) {
  testing::LateWorks group(ranks.world());
  for (const bool sequence_parallel : {false, true}) {
    check_column(group, sequence_parallel, Whole(3, kNarrow, kWide, true));
    check_row(group, sequence_parallel, Whole(3, kWide, kNarrow, true));
  }
}

DIST_TEST(ParallelLinear, RefusesShapesThatDoNotFit, 2) {
  Communicator& group = ranks.world();
  const at::Tensor weight = random_tensor({kNarrow, 6}, 1);
  EXPECT_THAT([&] { row_parallel_linear(random_tensor({7, 2, 6}, 2), weight, {}, group, true); },
              ::testing::ThrowsMessage<InternalError>(::testing::HasSubstr("group's 2 ranks divide, got 7")));
  EXPECT_THAT([&] { row_parallel_linear(random_tensor({8, 2, 7}, 2), weight, {}, group, true); },
              ::testing::ThrowsMessage<InternalError>(::testing::HasSubstr("input channels")));
  EXPECT_THAT([&] { column_parallel_linear(random_tensor({8, 2, 7}, 2), weight, {}, group, true); },
              ::testing::ThrowsMessage<InternalError>(::testing::HasSubstr("input channels")));
  EXPECT_THAT([&] { column_parallel_linear(random_tensor({8, 6}, 2), weight, {}, group, true); },
              ::testing::ThrowsMessage<InternalError>(::testing::HasSubstr("dimensions of x")));
}

}  // namespace
}  // namespace ringtron

// The groups of a rank hold the ranks the grid says, and work.
#include <ATen/ATen.h>

#include "ringtron/base/error.h"
#include "ringtron/comm/parallel_state.h"
#include "tests/support/multi_rank.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

// The sum of the global ranks of the group, through the group.
double sum_of_ranks(Communicator& group, int rank) {
  at::Tensor x = at::full({1}, static_cast<double>(rank), at::kDouble);
  group.all_reduce(x).wait();
  return x.item<double>();
}

DIST_TEST(ParallelState, TensorByContext, 4) {
  const ProcessGrid grid({.tensor = 2, .context = 2});
  const ParallelState state(grid, Backend::gloo, ranks.rendezvous());
  EXPECT_EQ(state.tp_rank(), ranks.rank() % 2);
  EXPECT_EQ(state.cp_rank(), ranks.rank() / 2);
  EXPECT_EQ(state.dp_size(), 1);
  EXPECT_EQ(state.tensor().name(), "tensor-parallel");
  EXPECT_EQ(sum_of_ranks(state.tensor(), ranks.rank()), ranks.rank() < 2 ? 1 : 5);
  EXPECT_EQ(sum_of_ranks(state.context(), ranks.rank()), ranks.rank() % 2 == 0 ? 2 : 4);
  EXPECT_EQ(sum_of_ranks(state.data_context(), ranks.rank()), ranks.rank() % 2 == 0 ? 2 : 4);
  EXPECT_EQ(sum_of_ranks(state.tensor_context(), ranks.rank()), 6);
  EXPECT_EQ(sum_of_ranks(state.world(), ranks.rank()), 6);
  EXPECT_EQ(sum_of_ranks(state.data(), ranks.rank()), ranks.rank());
  EXPECT_EQ(state.context().global_rank(1), ranks.rank() % 2 + 2);
}

// Every set of axes has its group, in the grid's order; asked for in one order on all ranks.
DIST_TEST(ParallelState, EverySetOfAxesHasAGroup, 4) {
  const ProcessGrid grid({.tensor = 2, .data = 2});
  const ParallelState state(grid, Backend::gloo, ranks.rendezvous());
  constexpr Axis kAxes[] = {Axis::tensor, Axis::context, Axis::data, Axis::pipeline};
  for (unsigned bits = 0; bits < kAxisSetCount; ++bits) {
    AxisSet axes;
    for (const Axis axis : kAxes) {
      if ((bits & AxisSet(axis).index()) != 0) axes = axes | axis;
    }
    double expected = 0.0;
    for (const int rank : grid.group_of(ranks.rank(), axes)) expected += rank;
    EXPECT_EQ(sum_of_ranks(state.group(axes), ranks.rank()), expected) << to_string(axes);
    EXPECT_EQ(&state.group(axes), &state.group(axes));
  }
  EXPECT_EQ(&state.tensor(), &state.group(Axis::tensor));
  // The same two ranks, and still two groups.
  EXPECT_NE(&state.group(Axis::tensor), &state.group(Axis::tensor | Axis::pipeline));
}

DIST_TEST(ParallelState, OneProcessNeedsNoPeer, 1) {
  const ParallelState state(ProcessGrid(GridSizes{}), Backend::nccl, ranks.rendezvous());
  EXPECT_EQ(state.world().size(), 1);
  EXPECT_EQ(sum_of_ranks(state.world(), 0), 0);
}

DIST_TEST(ParallelState, WrongNumberOfProcessesIsAConfigError, 2) {
  EXPECT_THROW(ParallelState(ProcessGrid({.tensor = 4}), Backend::gloo, ranks.rendezvous()), ConfigError);
}

}  // namespace
}  // namespace ringtron

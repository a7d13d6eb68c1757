// Norm, coefficient and zeros over tensor-parallel shards equal those of one process.
#include "ringtron/optim/gradient_clip.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/multi_rank.h"

namespace ringtron {
namespace {

constexpr double kLayoutTolerance = 1e-12;  // fp64, another order of summation

struct Model {
  Parameter column, row, replicated;
  ParameterList list() { return {&column, &row, &replicated}; }
  // What owner `owner` of `owners` has of each parameter.
  std::vector<OptimizerState> states(int owner = 0, int owners = 1) {
    std::vector<OptimizerState> out;
    for (Parameter* p : list()) {
      const std::int64_t all = p->value.numel();
      out.push_back({p, {all * owner / owners, all * (owner + 1) / owners}, {}, {}, {}, {}});
    }
    return out;
  }
};

Parameter slice(const char* name, ShardSpec shard, int rank, int size) {
  Parameter parameter;
  parameter.name = name;
  parameter.shard = shard;
  std::int64_t count = 1;
  for (const std::int64_t length : shard.global_shape) count *= length;
  at::Tensor whole = at::arange(count, at::kDouble).sin().view(shard.global_shape);
  if (shard.dim >= 0) whole = whole.chunk(size, shard.dim)[rank].contiguous();
  whole.view(-1)[0] = 0.0;
  parameter.value = whole.clone();
  parameter.gradient = whole;
  return parameter;
}

Model model_of(int rank, int size) {
  return {slice("column", {.global_shape = {16, 1031}, .dim = 0, .parts = {}}, rank, size),
          slice("row", {.global_shape = {33, 24}, .dim = 1, .parts = {}}, rank, size),
          slice("norm", {.global_shape = {77}, .dim = -1, .parts = {}}, rank, size)};
}

// Independent of the code under test: whole tensors, one after the other.
double expected_norm(int size) {
  double sum = 0.0;
  for (int rank = 0; rank < size; ++rank) {
    Model m = model_of(rank, size);
    sum += m.column.gradient.square().sum().item<double>() + m.row.gradient.square().sum().item<double>();
    if (rank == 0) sum += m.replicated.gradient.square().sum().item<double>();
  }
  return std::sqrt(sum);
}

DIST_TEST(GradientClip, CountsEachParameterOnce, 1, 2, 4) {
  Communicator& group = ranks.world();
  Model m = model_of(ranks.rank(), ranks.size());
  const double expected = expected_norm(ranks.size());
  const at::Tensor mean = at::full({}, 0.25, at::kDouble);
  const ClippedScale got = clip_gradients(m.states(), {group, ranks.rank()}, mean, 1.0);
  EXPECT_NEAR(got.norm.item<double>(), 0.25 * expected, kLayoutTolerance * expected);
  EXPECT_NEAR(got.scale.item<double>(), 0.25 / (0.25 * expected + 1e-6), kLayoutTolerance);
  EXPECT_NEAR(parameters_norm(m.list(), {group, ranks.rank()}).item<double>(), expected, kLayoutTolerance * expected);
  EXPECT_EQ(count_zero_gradients(m.states(), {group, ranks.rank()}, at::kCPU).item<std::int64_t>(),
            2 * ranks.size() + 1);
  EXPECT_EQ(clip_gradients(m.states(), {group, ranks.rank()}, mean, 1e9).scale.item<double>(), 0.25);
  EXPECT_EQ(clip_gradients(m.states(), {group, ranks.rank()}, mean, 0.0).scale.item<double>(), 0.25);
}

// Owners of parts count what the owner of all counts, on each of the tensor ranks.
DIST_TEST(GradientClip, OwnersOfPartsCountEachElementOnce, 2, 4) {
  const int tensor_ranks = ranks.size() / 2, tensor_rank = ranks.rank() % tensor_ranks;
  Model m = model_of(tensor_rank, tensor_ranks);
  const auto part = m.states(/*owner=*/ranks.rank() / tensor_ranks, /*owners=*/2);
  const ModelGroup everybody{ranks.world(), tensor_rank};
  const double expected = expected_norm(tensor_ranks);
  const at::Tensor one = at::ones({}, at::kDouble);
  EXPECT_NEAR(clip_gradients(part, everybody, one, 1.0).norm.item<double>(), expected, kLayoutTolerance * expected);
  EXPECT_EQ(count_zero_gradients(part, everybody, at::kCPU).item<std::int64_t>(), 2 * tensor_ranks + 1);
  const auto whole = m.states();  // negative control: every replica's gradients
  EXPECT_GT(clip_gradients(whole, everybody, one, 1.0).norm.item<double>(), 1.1 * expected);
}

DIST_TEST(GradientClip, NegativeControlEveryReplicaCounted, 2) {
  Model m = model_of(ranks.rank(), ranks.size());
  const double expected = expected_norm(ranks.size());
  const double wrong = parameters_norm(m.list(), {ranks.world(), 0}).item<double>();
  EXPECT_GT(std::abs(wrong - expected), 1e-3);
}

DIST_TEST(GradientClip, OneRanksNanIsEveryRanksNan, 2) {
  Model m = model_of(ranks.rank(), ranks.size());
  if (ranks.rank() == 1) m.row.gradient.view(-1)[5] = std::numeric_limits<double>::quiet_NaN();
  const ClippedScale got = clip_gradients(m.states(), {ranks.world(), ranks.rank()}, at::ones({}), 1.0);
  EXPECT_FALSE(std::isfinite(got.norm.item<double>()));
  EXPECT_EQ(got.scale.item<double>(), 1.0);
}

}  // namespace
}  // namespace ringtron

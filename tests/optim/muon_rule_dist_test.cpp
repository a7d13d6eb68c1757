// Muon over tensor ranks and replicas, with and without owners, makes the update of one process, and each matrix is
// orthogonalised by one rank. Slices orthogonalised alone are seen.
#include "ringtron/optim/muon_rule.h"

#include <ATen/ATen.h>

#include <deque>
#include <string_view>

#include "ringtron/comm/decorators/counting_communicator.h"
#include "ringtron/comm/local_communicator.h"
#include "ringtron/optim/optimizer.h"
#include "tests/support/multi_rank.h"

namespace ringtron::testing {
namespace {

constexpr double kTolerance = 1e-12;
constexpr int kSteps = 3;

struct Grid {
  int tensor = 1, replicas = 1;
  bool owners = false;
};

const std::vector<std::pair<const char*, ShardSpec>>& model() {
  static const std::vector<std::pair<const char*, ShardSpec>> list = {
      {"embedding.word_embeddings.weight", {{8, 12}, 0}},
      {"decoder.layers.0.self_attention.linear_qkv.weight", {{32, 12}, 0}},
      {"decoder.layers.0.self_attention.linear_proj.weight", {{12, 16}, 1}},
      {"decoder.layers.0.mlp.linear_fc1.weight", {{16, 12}, 0, {8, 8}}},
      {"decoder.layers.0.mlp.linear_fc1.bias", {{16}, 0, {8, 8}}},
      {"decoder.layers.0.mlp.linear_fc2.weight", {{12, 8}, 1}},
      {"decoder.layers.0.plain.weight", {{7, 12}}}};
  return list;
}

at::Tensor slice(const at::Tensor& whole, const ShardSpec& shard, int rank, int size) {
  if (!shard.sharded()) return whole.clone();
  at::Tensor local = at::empty(shard.local_shape(size), whole.options());
  for (const ShardSlice& s : shard.slices(rank, size))
    local.narrow(shard.dim, s.local_offset, s.length).copy_(whole.narrow(shard.dim, s.global_offset, s.length));
  return local;
}

at::Tensor numbers(const ShardSpec& shard, double seed) {
  std::int64_t count = 1;
  for (const std::int64_t length : shard.global_shape) count *= length;
  return at::arange(count, at::kDouble).mul_(seed).sin().view(shard.global_shape);
}

// What one rank of a grid has, in the grid's order: the tensor axis runs first.
class Run {
 public:
  Run(Grid grid, Communicator& group, Orthogonalize orthogonalize) : grid_(grid), rank_(group.rank()) {
    std::vector<std::int64_t> sizes;
    for (const auto& [name, shard] : model()) {
      Parameter& p = parameters_.emplace_back();
      p.name = name;
      p.shard = shard;
      p.value = slice(numbers(shard, 0.31), shard, rank_ % grid.tensor, grid.tensor);
      p.gradient = at::empty_like(p.value);
      list_.push_back(&p);
      sizes.push_back(p.value.numel());
    }
    BucketOptions buckets;
    buckets.overlap = true;
    buckets.bucket_size = 150;
    buckets.group_size = grid.replicas;
    plan_ = plan_buckets(sizes, buckets);
    MuonSetup setup{.options = {}, .ranks = {}, .orthogonalize = std::move(orthogonalize)};
    setup.options.nesterov = true;
    setup.options.qkv_rows = {4, 2, 2};
    setup.ranks = {&group, {}, grid.tensor, grid.replicas, grid.owners};
    for (int rank = 0; rank < group.size(); ++rank)
      setup.ranks.places.push_back({rank % grid.tensor, rank / grid.tensor});
    const auto owned = bucket_shards(plan_, grid.owners ? rank_ / grid.tensor : 0, grid.owners ? grid.replicas : 1);
    optimizer_.emplace(list_, plan_, setup, InitialValues::drawn, owned);
  }

  void steps() {
    for (int step = 0; step < kSteps; ++step) {
      for (Parameter* p : list_)
        p->gradient.copy_(slice(numbers(p->shard, 0.77 + step), p->shard, rank_ % grid_.tensor, grid_.tensor));
      optimizer_->step({0.01}, 0.1, at::full({}, 0.5));
    }
  }

  // The largest difference of what this rank changes.
  double difference(Run& whole) {
    double worst = 0.0;
    for (const OptimizerState& s : optimizer_->states()) {
      const at::Tensor expected = slice(whole.optimizer_->state(s.parameter->name).parameter->value, s.parameter->shard,
                                        rank_ % grid_.tensor, grid_.tensor);
      if (s.elements.size() > 0)
        worst = std::max(worst, (s.part_of(expected) - s.part_of(s.parameter->value)).abs().max().item<double>());
    }
    return worst;
  }

 private:
  Grid grid_;
  int rank_;
  std::deque<Parameter> parameters_;
  ParameterList list_;
  BucketPlan plan_;
  std::optional<Optimizer> optimizer_;
};

const std::vector<Grid>& grids(int ranks) {
  static const std::vector<Grid> two = {{2, 1}, {1, 2}, {1, 2, true}},
                                 four = {{4, 1}, {2, 2}, {2, 2, true}, {1, 4}, {1, 4, true}};
  return ranks == 2 ? two : four;
}

DIST_TEST(MuonRule, AnyGridMakesTheUpdateOfOneProcess, 2, 4) {
  LocalCommunicator alone("alone", 0);
  Run whole({}, alone, muon_direction);
  whole.steps();
  for (const Grid& grid : grids(ranks.size())) {
    int orthogonalised = 0;
    Run run(grid, ranks.world(), [&](const at::Tensor& matrix, bool is_qkv, const MuonOptions& options) {
      ++orthogonalised;
      return muon_direction(matrix, is_qkv, options);
    });
    run.steps();
    EXPECT_LT(run.difference(whole), kTolerance) << grid.tensor << " x " << grid.replicas << ' ' << grid.owners;
    at::Tensor sum = at::full({1}, orthogonalised, at::kLong);
    ranks.world().all_reduce(sum).wait();
    EXPECT_EQ(sum.item<std::int64_t>(), 5 * kSteps) << "five matrices, each once in a step";
    EXPECT_LE(orthogonalised, (5 + ranks.size() - 1) / ranks.size() * kSteps) << "shared out evenly";
  }
}

// Of a divided matrix the halves come and the halves of the update go. What both ranks have whole does not come.
DIST_TEST(MuonRule, NothingTravelsThatIsThere, 2) {
  CountingCommunicator group(ranks.world());
  Run run({2, 1}, group, muon_direction);
  run.steps();
  std::int64_t elements = 0;
  for (const auto& [name, shard] : model()) {
    if (std::string_view(name).starts_with("decoder") && shard.global_shape.size() == 2)
      elements += shard.global_shape[0] * shard.global_shape[1];
  }
  at::Tensor bytes = at::full({1}, group.counts().exchange.bytes, at::kLong);
  ranks.world().all_reduce(bytes).wait();
  EXPECT_EQ(bytes.item<std::int64_t>(), elements * std::int64_t{sizeof(double)} * kSteps);
}

// Negative control: as Megatron-LM's blockwise mode, each tensor rank's slice alone.
DIST_TEST(MuonRule, SlicesOrthogonalisedAloneAreSeen, 2) {
  LocalCommunicator alone("alone", 0);
  Run whole({}, alone, muon_direction);
  whole.steps();
  Run run({2, 1}, ranks.world(), [](const at::Tensor& matrix, bool is_qkv, const MuonOptions& options) {
    const std::int64_t dim = matrix.size(0) >= matrix.size(1) ? 0 : 1;
    std::vector<at::Tensor> slices;
    for (const at::Tensor& half : matrix.chunk(2, dim))
      slices.push_back(muon_direction(half.contiguous(), is_qkv, options));
    return at::cat(slices, dim).contiguous();
  });
  run.steps();
  EXPECT_GT(run.difference(whole), 1e-3);
}

}  // namespace
}  // namespace ringtron::testing

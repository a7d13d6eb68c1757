// A rank that dies while it orthogonalises a matrix: those that wait for its update get a CommError, not a hang.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <csignal>
#include <string>

#include "ringtron/base/error.h"
#include "ringtron/optim/optimizer.h"
#include "tests/support/multi_rank.h"

namespace ringtron {
namespace {

using ::testing::HasSubstr;

DIST_TEST(MuonFault, ADeadRankIsACommError, 3) {
  Parameter matrices[3];
  ParameterList list;
  for (Parameter& p : matrices) {
    p.name = "decoder.layers.0.mlp.linear_fc1.weight";
    p.shard.global_shape = {64, 64};
    p.value = at::eye(64, at::kFloat);
    p.gradient = at::ones({64, 64});
    list.push_back(&p);
  }
  MuonSetup setup;
  setup.ranks = {&ranks.world(), {{0, 0}, {0, 1}, {0, 2}}, 1, 3, false};
  setup.orthogonalize = [&](const at::Tensor& matrix, bool is_qkv, const MuonOptions& options) {
    if (ranks.rank() == 1) {
      ranks.announce_death();
      std::raise(SIGKILL);
    }
    return muon_direction(matrix, is_qkv, options);
  };
  const std::vector<std::int64_t> sizes(3, 64 * 64);
  Optimizer optimizer(list, plan_buckets(sizes, {}), setup);
  ranks.world().barrier();
  ranks.meet();
  std::string message;
  try {
    optimizer.step({0.1}, 0.0, at::ones({}));
  } catch (const CommError& error) {
    message = error.what();
  }
  EXPECT_THAT(message, HasSubstr("exchange"));
}

}  // namespace
}  // namespace ringtron

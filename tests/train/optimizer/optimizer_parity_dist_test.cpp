// SGD and Muon make the same steps in any layout, fp64 and both dropouts on: losses, gradients and, since each step
// begins with what the one before left, weights.
#include "ringtron/models/state_bytes.h"
#include "tests/train/layout_parity.h"

namespace ringtron::testing {
namespace {

constexpr const char* kSgd = "--optimizer sgd --sgd-momentum 0.8 --lr 0.1 --num-layers 4";
// Not so large that rounding grows by orders of magnitude in five steps.
constexpr const char* kMuon =
    "--optimizer muon --muon-momentum 0.95 --muon-nesterov --muon-extra-scale-factor 0.2 --num-layers 4";
constexpr const char* kMuonOtherwise =
    "--optimizer muon --muon-no-split-qkv --muon-scale-mode unit_rms_norm --muon-coefficient-type polar_express "
    "--muon-num-ns-steps 6 --muon-fp32-matmul-prec high --decoupled-lr 0.02 --num-layers 4";

constexpr const char* kSharded = "--use-distributed-optimizer";
// Many buckets, which begin and end within matrices; reduced during the backward, gathered during the forward.
constexpr const char* kOverlapped = "--use-distributed-optimizer --ddp-bucket-size 3000";
constexpr const char* kInterleaved = "--num-layers-per-virtual-pipeline-stage 1";

Layout pipeline(int tp, int cp, int dp, int micro_batch, bool sequence_parallel = false) {
  return {tp, cp, dp, sequence_parallel, micro_batch, /*distributed_optimizer=*/false, /*pp=*/2};
}

std::vector<Way> ways_of(int ranks) {
  switch (ranks) {
    case 2:
      return {{{2, 1, 1, false, 4}, ""},  {{2, 1, 1, true, 2}, ""},
              {{1, 2, 1, false, 4}, ""},  {{1, 2, 1, false, 4}, kSharded},
              {{1, 1, 2, false, 2}, ""},  {{1, 1, 2, false, 2}, kOverlapped},
              {pipeline(1, 1, 1, 2), ""}, {pipeline(1, 1, 1, 2), kInterleaved}};
    case 3:
      return {{{1, 3, 1, false, 4}, ""}, {{1, 3, 1, false, 4}, kOverlapped}};
    case 4:
      return {{{4, 1, 1, true, 4}, ""},           {{2, 2, 1, true, 4}, kSharded},  {{2, 1, 2, false, 2}, kOverlapped},
              {{1, 2, 2, false, 2}, ""},          {{1, 1, 4, false, 1}, kSharded}, {pipeline(2, 1, 1, 2, true), ""},
              {pipeline(1, 2, 1, 2), kOverlapped}};
    default:
      return {{{2, 2, 2, true, 2}, kOverlapped},
              {{4, 1, 2, false, 2}, kSharded},
              {{2, 1, 4, false, 1}, ""},
              {pipeline(2, 2, 1, 2, true), kInterleaved},
              {pipeline(2, 1, 2, 2), kOverlapped}};
  }
}

void expect_parity_of(RankContext& ranks, const char* name, const std::string& model, const char* optimizer) {
  expect_parity_of_ways(ranks, {name, fmt::format("{} {}", model, optimizer)}, ways_of(ranks.size()), 0);
}

DIST_TEST(SgdParity, LlamaLike, 2, 4) { expect_parity_of(ranks, "llama-like", kLlamaLike, kSgd); }
DIST_TEST(SgdParity, GptLike, 2) { expect_parity_of(ranks, "gpt-like", kGptLike, kSgd); }
DIST_TEST(MuonParity, LlamaLike, 2, 3, 4, 8) { expect_parity_of(ranks, "llama-like", kLlamaLike, kMuon); }
DIST_TEST(MuonParity, GptLike, 2, 4, 8) { expect_parity_of(ranks, "gpt-like", kGptLike, kMuonOtherwise); }

DIST_TEST(MuonParity, Mamba, 4) {
  const std::string hybrid =
      "--hybrid-layer-pattern M*M- --mamba-num-heads 16 --mamba-head-dim 2 --mamba-num-groups 8 --mamba-state-dim 4 "
      "--num-layers 4 --normalization RMSNorm --swiglu --ffn-hidden-size 48 --position-embedding-type none "
      "--disable-bias-linear --untie-embeddings-and-output-weights";
  expect_parity_of_ways(ranks, {"hybrid", fmt::format("{} {}", hybrid, kMuon)},
                        {{{2, 2, 1, true, 4}, kSharded}, {{2, 1, 2, false, 2}, kOverlapped}}, 0);
}

// Negative control: each flag of an optimizer is seen in the losses.
DIST_TEST(MuonParity, EachFlagIsSeen, 1) {
  const SharedFolder folder(ranks);
  const auto losses = [&](const std::string& flags) {
    return reference(folder, fmt::format("{} {}", kLlamaLike, flags)).losses;
  };
  const std::string muon = "--optimizer muon --muon-extra-scale-factor 0.2 ", sgd = "--optimizer sgd ";
  std::vector<std::vector<double>> all = {losses(""), losses(sgd), losses(sgd + "--sgd-momentum 0.5"), losses(muon)};
  for (const char* flag :
       {"--muon-momentum 0.5", "--muon-nesterov", "--muon-no-split-qkv", "--muon-scale-mode shape_scaling",
        "--muon-scale-mode unit_rms_norm", "--muon-extra-scale-factor 0.3", "--muon-coefficient-type simple",
        "--muon-coefficient-type aol", "--muon-coefficient-type polar_express", "--muon-num-ns-steps 4"})
    all.push_back(losses(muon + flag));
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::size_t j = i + 1; j < all.size(); ++j) {
      EXPECT_EQ(all[i][0], all[j][0]);
      EXPECT_GT(std::abs(all[i].back() - all[j].back()), 1e-7) << i << " and " << j;
    }
  }
}

// As many bytes as are told before the run, on the rank that has most.
DIST_TEST(MuonParity, EachRankKeepsTheStateThatIsTold, 4) {
  const SharedFolder folder(ranks);
  int number = 0;
  for (const std::string& flags :
       {std::string("--bf16 --optimizer muon ") + kSharded, std::string("--bf16 --optimizer muon ") + kOverlapped,
        std::string("--bf16 --optimizer sgd ") + kSharded}) {
    SCOPED_TRACE(flags);
    ToyTraining run(ranks, number++,
                    toy_config({1, 2, 2, false, 2}, folder.corpus(), fmt::format("{} {}", kLlamaLike, flags)));
    const StateBytes told = state_bytes(run.job().config(), count_parameters(run.job().config(), 4));
    const auto bytes = [](const at::Tensor& x) { return static_cast<std::int64_t>(x.storage().nbytes()); };
    at::Tensor own = at::zeros({1}, at::kLong);
    for (const OptimizerState& s : run.state().optimizer.states())
      if (s.exp_avg_sq.defined()) own[0] = bytes(s.exp_avg_sq);
    own += bytes(run.state().optimizer.states().front().exp_avg);
    run.job().world().all_reduce(own, ReduceOp::max).wait();
    EXPECT_EQ(own.item<std::int64_t>(), told.moments);
  }
}

}  // namespace
}  // namespace ringtron::testing

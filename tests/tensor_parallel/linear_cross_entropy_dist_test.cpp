// Output layer and loss in chunks against both on one process, in fp64: losses and all gradients, whatever the chunks.
#include "ringtron/tensor_parallel/linear_cross_entropy.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "ringtron/comm/decorators/checked_communicator.h"
#include "ringtron/comm/decorators/counting_communicator.h"
#include "tests/support/allocation_peak.h"
#include "tests/support/multi_rank.h"
#include "tests/support/random_tensor.h"
#include "tests/support/tensor_near.h"
#include "tests/tensor_parallel/shares.h"

namespace ringtron {
namespace {

using testing::kOtherOrder;
using testing::leaf;
using testing::random_tensor;
using testing::share;

constexpr std::int64_t kPadded = 16, kReal = 13, kLength = 12, kBatch = 2, kHidden = 6;
constexpr std::int64_t kAll = std::int64_t{1} << 30;

struct Problem {
  at::Tensor x = random_tensor({kLength, kBatch, kHidden}, 1), weight = random_tensor({kPadded, kHidden}, 2),
             targets = at::arange(kLength * kBatch, at::kLong).remainder(kReal).view({kLength, kBatch}),
             weights = random_tensor({kLength, kBatch}, 3).gt(0).to(at::kDouble);
};

struct Result {
  at::Tensor each, sum, dx, dw;
};

Result on_one_process(const Problem& p) {
  const at::Tensor x = leaf(p.x), weight = leaf(p.weight);
  const at::Tensor logits = at::linear(x, weight).narrow(-1, 0, kReal).flatten(0, 1);
  const at::Tensor each =
      at::cross_entropy_loss(logits, p.targets.flatten(), {}, at::Reduction::None).view(p.targets.sizes());
  const at::Tensor sum = (each * p.weights).sum();
  sum.backward();
  return {each.detach(), sum.detach(), x.grad(), weight.grad()};
}

Result of(Communicator& group, const Problem& p, bool sequence_parallel, std::int64_t logit_bytes) {
  const at::Tensor x = leaf(sequence_parallel ? share(p.x, 0, group) : p.x), weight = leaf(share(p.weight, 0, group));
  const TokenLosses out =
      linear_cross_entropy(x, weight, p.targets, p.weights, kReal, group, sequence_parallel, logit_bytes);
  EXPECT_FALSE(out.each.requires_grad());
  out.weighted_sum.backward();
  return {out.each, out.weighted_sum.detach(), x.grad(), weight.grad()};
}

// Logits of one position: all samples and this rank's words.
std::int64_t position_bytes(Communicator& group) { return kBatch * kPadded / group.size() * 8; }

DIST_TEST(LinearCrossEntropy, EqualsOneProcessInAnyChunks, 1, 2, 4) {
  CheckedCommunicator group(ranks.world(), ranks.world());
  const Problem p;
  const Result expected = on_one_process(p);
  for (const bool sequence_parallel : {false, true}) {
    for (const std::int64_t positions : {0, 1, 5, 12, 1000}) {
      const Result got = of(group, p, sequence_parallel, positions * position_bytes(group));
      EXPECT_TENSOR_NEAR(got.each, expected.each, kOtherOrder) << positions;
      EXPECT_TENSOR_NEAR(got.sum, expected.sum, kOtherOrder) << positions;
      EXPECT_TENSOR_NEAR(got.dx, sequence_parallel ? share(expected.dx, 0, group) : expected.dx, kOtherOrder);
      EXPECT_TENSOR_NEAR(got.dw, share(expected.dw, 0, group), kOtherOrder) << positions;
    }
  }
}

DIST_TEST(LinearCrossEntropy, OtherWeightsAreNoticed, 1, 2) {  // negative control
  Problem p;
  const Result expected = on_one_process(p);
  p.weights = 1.0 - p.weights;
  const Result got = of(ranks.world(), p, false, kAll);
  EXPECT_TENSOR_NEAR(got.each, expected.each, kOtherOrder);
  EXPECT_FALSE(testing::tensor_near(got.dx, expected.dx, kOtherOrder));
  EXPECT_FALSE(testing::tensor_near(got.dw, share(expected.dw, 0, ranks.world()), kOtherOrder));
}

// Into the fp32 sum of a parameter, in all micro-batches, and told once each.
DIST_TEST(LinearCrossEntropy, AddsToTheParametersSum, 1, 2) {
  Communicator& group = ranks.world();
  const Problem p;
  for (const at::ScalarType type : {at::kDouble, at::kBFloat16}) {
    const at::ScalarType wide = type == at::kDouble ? at::kDouble : at::kFloat;
    Parameter parameter;
    parameter.value = leaf(share(p.weight, 0, group).to(type));
    parameter.gradient = at::full(parameter.value.sizes(), 1e9, wide);  // of the step before
    int told = 0;
    parameter.gradient_added = [&] { ++told; };
    for (int micro_batch = 0; micro_batch < 2; ++micro_batch) {
      const at::Tensor x = leaf(p.x.to(type));
      linear_cross_entropy(x, LinearWeight(parameter), p.targets, p.weights.to(wide), kReal, group, false,
                           position_bytes(group))
          .weighted_sum.backward();
    }
    EXPECT_EQ(told, 2);
    EXPECT_FALSE(parameter.value.grad().defined());
    EXPECT_TENSOR_NEAR(parameter.gradient, 2 * share(on_one_process(p).dw, 0, group),
                       type == at::kDouble ? kOtherOrder : 3e-2);
  }
}

DIST_TEST(LinearCrossEntropy, ChunksBoundTheMemory, 1) {
  const at::Tensor x = leaf(at::ones({512, 1, 8})), weight = leaf(at::ones({4096, 8}));
  const at::Tensor targets = at::zeros({512, 1}, at::kLong), weights = at::ones({512, 1});
  const auto peak = [&](std::int64_t logit_bytes) {
    const testing::AllocationPeak counted;
    linear_cross_entropy(x, weight, targets, weights, 4096, ranks.world(), false, logit_bytes);
    return counted.peak();
  };
  const std::int64_t all = 512 * 4096 * 4;
  EXPECT_GT(peak(all), all);
  EXPECT_LT(peak(all / 4), all / 2 + 6'000'000);  // 4 MB of rows at a time are widened
}

DIST_TEST(LinearCrossEntropy, NoGradientsNoTokens, 1, 2) {
  CountingCommunicator group(ranks.world());
  const Problem p;
  const at::Tensor expected = on_one_process(p).each;
  {
    const at::NoGradGuard no_grad;
    const TokenLosses out =
        linear_cross_entropy(p.x, leaf(share(p.weight, 0, group)), p.targets, p.weights, kReal, group, false, kAll);
    EXPECT_TENSOR_NEAR(out.each, expected, kOtherOrder);
    EXPECT_EQ(group.counts().all_reduce.calls, group.size() == 1 ? 1 : 2);
  }
  const at::Tensor x = leaf(at::empty({0, kBatch, kHidden}, at::kDouble)), weight = leaf(share(p.weight, 0, group));
  const TokenLosses none =
      linear_cross_entropy(x, weight, p.targets.narrow(0, 0, 0), p.weights.narrow(0, 0, 0), kReal, group, false, kAll);
  none.weighted_sum.backward();
  EXPECT_EQ(none.weighted_sum.item<double>(), 0.0);
  EXPECT_EQ(weight.grad().count_nonzero().item<std::int64_t>(), 0);
  EXPECT_EQ(x.grad().numel(), 0);
}

DIST_TEST(LinearCrossEntropy, GoesBackwardFromOne, 1) {
  const Problem p;
  const TokenLosses out =
      linear_cross_entropy(leaf(p.x), leaf(p.weight), p.targets, p.weights, kReal, ranks.world(), false, kAll);
  EXPECT_THAT([&] { (2 * out.weighted_sum).backward(); },
              ::testing::ThrowsMessage<InternalError>(::testing::HasSubstr("for a gradient of 1")));
}

}  // namespace
}  // namespace ringtron

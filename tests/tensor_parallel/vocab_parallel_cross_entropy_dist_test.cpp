// The divided cross entropy against at::cross_entropy_loss over the real vocabulary, in fp64.
#include "ringtron/tensor_parallel/vocab_parallel_cross_entropy.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "ringtron/comm/decorators/checked_communicator.h"
#include "ringtron/comm/decorators/counting_communicator.h"
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

// Padded to 16: of four ranks the third holds two real ids and two of padding, the fourth only padding.
constexpr std::int64_t kPadded = 16, kReal = 10, kSequence = 5, kBatch = 2;

at::Tensor some_targets() {  // first and last id of every share
  return at::tensor({0, 3, 4, 7, 8, 9, 9, 0, 5, 1}, at::kLong).view({kSequence, kBatch});
}

struct Whole {
  at::Tensor loss, gradient;  // [s, b]; [s, b, padded] with zeros for padding
};

Whole one_process(const at::Tensor& logits, const at::Tensor& targets, std::int64_t real, const at::Tensor& dloss) {
  const at::Tensor x = leaf(logits);
  const at::Tensor loss = at::cross_entropy_loss(x.narrow(-1, 0, real).flatten(0, 1), targets.flatten(),
                                                 /*weight=*/{}, at::Reduction::None)
                              .view(targets.sizes());
  loss.backward(dloss);
  return {loss.detach(), x.grad()};
}

at::Tensor gradient(const at::Tensor& logits, const at::Tensor& targets, const CrossEntropy& loss,
                    const at::Tensor& dloss) {
  return cross_entropy_gradient(logits, targets, loss.part, loss.log_sum, dloss, /*in_place=*/false);
}

void check(Communicator& group, const at::Tensor& logits, std::int64_t real) {
  const at::Tensor targets = some_targets(), dloss = random_tensor({kSequence, kBatch}, 9);
  const Whole whole = one_process(logits, targets, real, dloss);
  const at::Tensor x = share(logits, 2, group);
  const CrossEntropy loss = vocab_parallel_cross_entropy(x, targets, real, group);
  EXPECT_EQ(loss.each.scalar_type(), at::kDouble);
  EXPECT_TENSOR_NEAR(loss.each, whole.loss, kOtherOrder);
  EXPECT_TENSOR_NEAR(gradient(x, targets, loss, dloss), share(whole.gradient, 2, group), kOtherOrder);
}

DIST_TEST(VocabParallelCrossEntropy, EqualsOneProcess, 1, 2, 4) {
  CheckedCommunicator group(ranks.world(), ranks.world());
  const at::Tensor logits = random_tensor({kSequence, kBatch, kPadded}, 1) * 3;
  check(group, logits, kReal);    // a rank of four has nothing but padding
  check(group, logits, kPadded);  // no padding
  check(group, logits, kReal + 1);
}

DIST_TEST(VocabParallelCrossEntropy, PaddingTakesNoPart, 1, 2, 4) {
  Communicator& group = ranks.world();
  at::Tensor logits = random_tensor({kSequence, kBatch, kPadded}, 2);
  logits.narrow(-1, kReal, kPadded - kReal).fill_(1e6);
  check(group, logits, kReal);
  const at::Tensor x = share(logits, 2, group);
  const CrossEntropy loss = vocab_parallel_cross_entropy(x, some_targets(), kReal, group);
  const at::Tensor dx = gradient(x, some_targets(), loss, at::ones_like(loss.each));
  const at::Tensor ids = share(at::arange(kPadded), 0, group);
  const at::Tensor padding = dx.index_select(2, ids.ge(kReal).nonzero().flatten());
  EXPECT_EQ(padding.count_nonzero().item<std::int64_t>(), 0);
  EXPECT_TRUE(dx.isfinite().all().item<bool>());
}

DIST_TEST(VocabParallelCrossEntropy, ExtremeLogits, 1, 2, 4) {
  CheckedCommunicator group(ranks.world(), ranks.world());
  const at::Tensor noise = random_tensor({kSequence, kBatch, kPadded}, 3);
  check(group, noise.sign() * 1e4 + noise, kReal);
  check(group, noise - 1e4, kReal);
  check(group, noise + 1e4, kReal);
  check(group, at::zeros_like(noise), kReal);
}

DIST_TEST(VocabParallelCrossEntropy, NarrowTypes, 1, 2, 4) {
  Communicator& group = ranks.world();
  const at::Tensor targets = some_targets(), dloss = random_tensor({kSequence, kBatch}, 9);
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor logits = (random_tensor({kSequence, kBatch, kPadded}, 4) * 3).to(type);
    const Whole whole = one_process(logits.to(at::kDouble), targets, kReal, dloss);
    const at::Tensor x = share(logits, 2, group), before = x.clone();
    const CrossEntropy loss = vocab_parallel_cross_entropy(x, targets, kReal, group);
    EXPECT_EQ(loss.each.scalar_type(), at::kFloat);
    EXPECT_TENSOR_NEAR(loss.each, whole.loss, 1e-6);  // bf16 logits are widened first
    const at::Tensor dx = gradient(x, targets, loss, dloss.to(at::kFloat));
    EXPECT_EQ(dx.scalar_type(), type);
    EXPECT_TENSOR_NEAR(dx, share(whole.gradient, 2, group), type == at::kFloat ? 1e-6 : 1.0 / 256);
    EXPECT_TENSOR_EQUAL(x, before);
  }
}

DIST_TEST(VocabParallelCrossEntropy, UsesTwoCollectives, 2) {
  CountingCommunicator group(ranks.world());
  vocab_parallel_cross_entropy(random_tensor({kSequence, kBatch, kPadded / 2}, 5), some_targets(), kReal, group);
  EXPECT_EQ(group.counts().all_reduce.calls, 2);
  EXPECT_EQ(group.counts().all_gather.calls + group.counts().reduce_scatter.calls, 0);
}

DIST_TEST(VocabParallelCrossEntropy, NoTokens, 1, 2) {
  const at::Tensor logits = at::empty({0, kBatch, 8}, at::kDouble), targets = at::empty({0, kBatch}, at::kLong);
  EXPECT_EQ(vocab_parallel_cross_entropy(logits, targets, 8, ranks.world()).each.numel(), 0);
}

DIST_TEST(VocabParallelCrossEntropy, WrongOrderOfShardsIsNoticed, 2, 4) {  // negative control
  Communicator& group = ranks.world();
  const at::Tensor logits = random_tensor({kSequence, kBatch, kPadded}, 6), targets = some_targets();
  const Whole whole = one_process(logits, targets, kPadded, at::ones({kSequence, kBatch}, at::kDouble));
  const at::Tensor loss =
      vocab_parallel_cross_entropy(testing::foreign_share(logits, 2, group), targets, kPadded, group).each;
  EXPECT_FALSE(testing::tensor_near(loss, whole.loss, kOtherOrder));
  const at::Tensor padding_counted = vocab_parallel_cross_entropy(share(logits, 2, group), targets, kReal, group).each;
  EXPECT_FALSE(testing::tensor_near(padding_counted, whole.loss, kOtherOrder));
}

DIST_TEST(VocabParallelCrossEntropy, RefusesShapesThatDoNotFit, 2) {
  Communicator& group = ranks.world();
  const at::Tensor logits = random_tensor({kSequence, kBatch, 8}, 7);
  EXPECT_THAT([&] { vocab_parallel_cross_entropy(logits, some_targets().t(), kReal, group); },
              ::testing::ThrowsMessage<InternalError>(::testing::HasSubstr("got [5, 2, 8] and [2, 5]")));
  for (const std::int64_t size : {0, 17}) {
    EXPECT_THAT([&] { vocab_parallel_cross_entropy(logits, some_targets(), size, group); },
                ::testing::ThrowsMessage<InternalError>(::testing::HasSubstr("vocabulary of 1 to 16 ids")));
  }
}

}  // namespace
}  // namespace ringtron

// The divided embedding table: rows looked up and their gradients equal those of one process.
#include "ringtron/tensor_parallel/vocab_parallel_embedding.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "ringtron/comm/decorators/checked_communicator.h"
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

constexpr std::int64_t kVocabulary = 12, kChannels = 5;

// [b, s] with every id's neighbours, repeats, and ids that no sample has.
at::Tensor some_tokens() {
  return at::tensor({0, 2, 3, 5, 6, 8, 9, 11, 11, 11, 0, 4, 4, 1, 7, 2}, at::kLong).view({2, 8});
}

DIST_TEST(VocabParallelEmbedding, EqualsOneProcess, 1, 2, 4) {
  CheckedCommunicator group(ranks.world(), ranks.world());
  const at::Tensor table = leaf(random_tensor({kVocabulary, kChannels}, 1)), tokens = some_tokens();
  const at::Tensor y = at::embedding(table, tokens.t()), dy = random_tensor({8, 2, kChannels}, 2);
  y.backward(dy);
  for (const bool to_sequence_region : {false, true}) {
    const auto rows = [&](const at::Tensor& t) { return to_sequence_region ? share(t, 0, group) : t.detach(); };
    const at::Tensor weight = leaf(share(table, 0, group));
    const at::Tensor got = vocab_parallel_embedding(tokens, weight, group, to_sequence_region);
    EXPECT_TENSOR_EQUAL(got, rows(y));  // each row comes from one rank, the others add zeros
    got.backward(rows(dy));
    EXPECT_TENSOR_NEAR(weight.grad(), share(table.grad(), 0, group), kOtherOrder);
  }
}

DIST_TEST(VocabParallelEmbedding, ARankMayHaveNothingToLookUp, 2, 4) {
  CheckedCommunicator group(ranks.world(), ranks.world());
  const at::Tensor table = random_tensor({kVocabulary, kChannels}, 1), tokens = at::zeros({2, 8}, at::kLong);
  const at::Tensor weight = leaf(share(table, 0, group));
  const at::Tensor got = vocab_parallel_embedding(tokens, weight, group, true);
  EXPECT_TENSOR_EQUAL(got, share(at::embedding(table, tokens.t()), 0, group));
  got.sum().backward();
  at::Tensor expected = at::zeros_like(weight);
  if (group.rank() == 0) expected[0].fill_(16);
  EXPECT_TENSOR_EQUAL(weight.grad(), expected.detach());
}

DIST_TEST(VocabParallelEmbedding, WrongOrderOfShardsIsNoticed, 2, 4) {  // negative control
  Communicator& group = ranks.world();
  const at::Tensor table = random_tensor({kVocabulary, kChannels}, 1), tokens = some_tokens();
  const at::Tensor expected = at::embedding(table, tokens.t());
  const at::Tensor got = vocab_parallel_embedding(tokens, testing::foreign_share(table, 0, group), group, false);
  EXPECT_FALSE(testing::tensor_near(got, expected, kOtherOrder));
}

DIST_TEST(VocabParallelEmbedding, RowsThatDoNotDivide, 2, 4) {
  const at::Tensor weight = random_tensor({3, kChannels}, 1), tokens = at::zeros({2, 7}, at::kLong);
  EXPECT_THAT([&] { vocab_parallel_embedding(tokens, weight, ranks.world(), true); },
              ::testing::ThrowsMessage<InternalError>(::testing::HasSubstr("ranks divide, got 7")));
}

}  // namespace
}  // namespace ringtron

// A rank that dies inside a layer's backward gives every other rank a CommError out of backward(), not a
// hang.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "ringtron/comm/decorators/faulty_communicator.h"
#include "ringtron/tensor_parallel/linear.h"
#include "ringtron/tensor_parallel/linear_cross_entropy.h"
#include "ringtron/tensor_parallel/vocab_parallel_embedding.h"
#include "tests/support/multi_rank.h"
#include "tests/support/random_tensor.h"
#include "tests/tensor_parallel/shares.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::leaf;
using testing::random_tensor;
using ::testing::ThrowsMessage;

constexpr int kVictim = 2;

using Layer = at::Tensor (*)(Communicator& group);

at::Tensor column(Communicator& group) {
  return column_parallel_linear(leaf(random_tensor({8, 2, 5}, 1)), leaf(random_tensor({3, 5}, 2)), {}, group, false);
}
at::Tensor column_of_sequence_shards(Communicator& group) {
  return column_parallel_linear(leaf(random_tensor({2, 2, 5}, 1)), leaf(random_tensor({3, 5}, 2)), {}, group, true);
}
at::Tensor row_to_sequence_shards(Communicator& group) {
  return row_parallel_linear(leaf(random_tensor({8, 2, 5}, 1)), leaf(random_tensor({3, 5}, 2)), {}, group, true);
}
at::Tensor embedding_to_sequence_shards(Communicator& group) {
  return vocab_parallel_embedding(at::ones({2, 8}, at::kLong), leaf(random_tensor({3, 5}, 1)), group, true);
}
at::Tensor loss_of_sequence_shards(Communicator& group) {
  return linear_cross_entropy(leaf(random_tensor({2, 2, 5}, 1)), leaf(random_tensor({3, 5}, 2)),
                              at::ones({8, 2}, at::kLong), at::ones({8, 2}, at::kDouble), 12, group, true, 1 << 20)
      .weighted_sum;
}

// The victim dies when all ranks have come to their `operation`-th collective, counted over forward and
// backward.
void kill_in(testing::RankContext& ranks, Layer layer, int operation, const char* name) {
  std::vector<ScriptedFault> script{
      {.operation = operation, .fault = Fault::call, .action = [&ranks] { ranks.meet(); }}};
  if (ranks.rank() == kVictim) {
    script.push_back({.operation = operation, .fault = Fault::kill});
    ranks.announce_death();
  }
  FaultyCommunicator group(ranks.world(), std::move(script));
  // A rank that needs nothing from the victim may get through one more.
  const auto go_on = [&] {
    for (int i = 0; i < 100; ++i) layer(group).sum().backward();
  };
  EXPECT_THAT(go_on, ThrowsMessage<CommError>(AllOf(HasSubstr("world group"), HasSubstr(name),
                                                    HasSubstr(fmt::format("rank {} died", kVictim)))));
}

// Forward has no collective, so the first is the backward's sum of dx.
DIST_TEST(TensorParallelPeerLoss, InColumnBackward, 4) { kill_in(ranks, column, 1, "all_reduce"); }
// On four ranks gathering rows takes 3 exchanges, a product that is reduce-scattered 6.
// 1 to 3 gather x forward, 4 to 6 gather it again, 7 to 12 scatter dx.
DIST_TEST(TensorParallelPeerLoss, InColumnForwardGather, 4) {
  kill_in(ranks, column_of_sequence_shards, 2, "exchange");
}
DIST_TEST(TensorParallelPeerLoss, InColumnBackwardGather, 4) {
  kill_in(ranks, column_of_sequence_shards, 5, "exchange");
}
DIST_TEST(TensorParallelPeerLoss, InColumnBackwardScatter, 4) {
  kill_in(ranks, column_of_sequence_shards, 10, "exchange");
}
// 1 to 6 scatter y, 7 to 9 gather dy.
DIST_TEST(TensorParallelPeerLoss, InRowForward, 4) { kill_in(ranks, row_to_sequence_shards, 4, "exchange"); }
DIST_TEST(TensorParallelPeerLoss, InRowBackward, 4) { kill_in(ranks, row_to_sequence_shards, 8, "exchange"); }
DIST_TEST(TensorParallelPeerLoss, InEmbeddingBackward, 4) {
  kill_in(ranks, embedding_to_sequence_shards, 2, "all_gather");
}
// 1 gathers x, 2 and 3 are the softmax's, 4 scatters dx.
DIST_TEST(TensorParallelPeerLoss, InCrossEntropy, 4) { kill_in(ranks, loss_of_sequence_shards, 3, "all_reduce"); }
DIST_TEST(TensorParallelPeerLoss, InLossScatter, 4) { kill_in(ranks, loss_of_sequence_shards, 4, "reduce_scatter"); }

}  // namespace
}  // namespace ringtron

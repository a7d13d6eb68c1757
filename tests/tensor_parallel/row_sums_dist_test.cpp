// Sums over many rows in bf16 are as good as one rounding: 16,384 rows, each kind of parameter, against fp64.
//
// Sums of bf16 numbers in bf16 stop growing where the sum is 256 times its next term; a mean other than zero shows it.
#include <ATen/ATen.h>

#include <functional>
#include <string>
#include <vector>

#include "ringtron/kernels/embedding/embedding.h"
#include "ringtron/kernels/norm/norm.h"
#include "ringtron/tensor_parallel/linear.h"
#include "ringtron/tensor_parallel/vocab_parallel_cross_entropy.h"
#include "ringtron/tensor_parallel/vocab_parallel_embedding.h"
#include "tests/support/multi_rank.h"
#include "tests/support/random_tensor.h"
#include "tests/support/tensor_near.h"
#include "tests/tensor_parallel/shares.h"

namespace ringtron {
namespace {

using testing::random_tensor;

constexpr std::int64_t kLength = 512, kSamples = 32;  // 16,384 rows
constexpr std::int64_t kWidth = 16, kTable = 16;
constexpr double kRoundedOnce = 1.02 / 256;
constexpr double kEpsilon = 1e-5;

// fp64 numbers that bf16 can hold.
at::Tensor numbers(at::IntArrayRef sizes, std::uint64_t key, double mean = 0.0) {
  return (random_tensor(sizes, key) + mean).to(at::kBFloat16).to(at::kDouble);
}

using Layer = std::function<at::Tensor(const std::vector<at::Tensor>& inputs)>;

// Gradients of all inputs in `type`, as fp64.
std::vector<at::Tensor> gradients(const Layer& layer, const std::vector<at::Tensor>& inputs, double mean,
                                  at::ScalarType type) {
  std::vector<at::Tensor> leaves;
  for (const at::Tensor& input : inputs) leaves.push_back(input.to(type).detach().clone().requires_grad_());
  const at::Tensor y = layer(leaves);
  y.backward(numbers(y.sizes(), 99, mean).to(y.scalar_type()));
  std::vector<at::Tensor> out;
  for (const at::Tensor& leaf : leaves) out.push_back(leaf.grad().to(at::kDouble));
  return out;
}

// inputs[0] has the rows; of the others the gradients are sums over them.
void expect_sums(const std::string& name, const Layer& layer, const std::vector<at::Tensor>& inputs) {
  for (const double mean : {0.0, 1.0}) {
    const auto got = gradients(layer, inputs, mean, at::kBFloat16),
               expected = gradients(layer, inputs, mean, at::kDouble);
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_TENSOR_NEAR(got[i], expected[i], kRoundedOnce)
          << name << ", input " << i << ", gradients of mean " << mean;
    }
  }
}

TEST(RowSums, OfNorms) {
  const at::Tensor weight = numbers({kWidth}, 2), bias = numbers({kWidth}, 3);
  for (const bool centred : {false, true}) {
    for (const double mean : {0.0, 1.0}) {
      const at::Tensor x = numbers({kLength, kSamples, kWidth}, 1, mean);
      expect_sums("layer_norm", [&](const auto& in) { return layer_norm(in[0], in[1], in[2], kEpsilon, centred); },
                  {x, weight, bias});
      expect_sums("layer_norm without bias",
                  [&](const auto& in) { return layer_norm(in[0], in[1], {}, kEpsilon, centred); }, {x, weight});
      expect_sums("rms_norm", [&](const auto& in) { return rms_norm(in[0], in[1], kEpsilon, centred); }, {x, weight});
    }
    // Of heads: as many rows again for each head.
    const at::Tensor heads = numbers({kLength, kSamples / 4, 4, 8}, 4);
    expect_sums("norm of heads", [&](const auto& in) { return layer_norm(in[0], in[1], in[2], kEpsilon, centred); },
                {heads, numbers({8}, 5), numbers({8}, 6)});
  }
}

// Most ids are the same few: one comes more than 10,000 times.
at::Tensor ids_of(at::IntArrayRef sizes) {
  return (random_tensor(sizes, 7).abs().pow(4) * 0.4).to(at::kLong).clamp_max(kTable - 1);
}

TEST(RowSums, OfAnEmbedding) {
  const at::Tensor ids = ids_of({kLength, kSamples});
  ASSERT_GT(ids.eq(0).sum().item<std::int64_t>(), 10'000);
  expect_sums("embedding", [&](const auto& in) { return embedding_lookup(in[0], ids); },
              {numbers({kTable, kWidth}, 8)});
}

DIST_TEST(ParallelRowSums, OfAVocabularyParallelEmbedding, 1, 2) {
  Communicator& group = ranks.world();
  const at::Tensor tokens = ids_of({kSamples, kLength}) * group.size();  // on every rank some
  for (const bool to_sequence_region : {false, true}) {
    expect_sums("vocab_parallel_embedding",
                [&](const auto& in) { return vocab_parallel_embedding(tokens, in[0], group, to_sequence_region); },
                {numbers({kTable, kWidth}, 9)});
  }
}

// x takes part in a sum over ranks, which is one of activations: in their type. The others are sums over rows.
DIST_TEST(ParallelRowSums, OfLinearLayers, 1, 2) {
  Communicator& group = ranks.world();
  for (const bool sequence_parallel : {false, true}) {
    const at::Tensor x = numbers({kLength, kSamples, kWidth}, 10, 0.5), weight = numbers({kWidth, kWidth}, 11),
                     bias = numbers({kWidth}, 12);
    for (const double mean : {0.0, 1.0}) {
      const Layer column = [&](const auto& in) {
        return column_parallel_linear(in[0], in[1], in[2], group, sequence_parallel);
      };
      const Layer row = [&](const auto& in) {
        return row_parallel_linear(in[0], in[1], in[2], group, sequence_parallel);
      };
      for (const Layer& layer : {column, row}) {
        const auto got = gradients(layer, {x, weight, bias}, mean, at::kBFloat16),
                   expected = gradients(layer, {x, weight, bias}, mean, at::kDouble);
        EXPECT_TENSOR_NEAR(got[1], expected[1], kRoundedOnce) << "weight, gradients of mean " << mean;
        EXPECT_TENSOR_NEAR(got[2], expected[2], kRoundedOnce) << "bias, gradients of mean " << mean;
      }
    }
  }
}

// The sum over a vocabulary; its result is fp32.
DIST_TEST(ParallelRowSums, OfCrossEntropy, 1, 2) {
  Communicator& group = ranks.world();
  const at::Tensor logits = numbers({2, 2, 16384}, 13),
                   targets = at::tensor({0, 77, 1000, 16000}, at::kLong).view({2, 2});
  const auto loss = [&](at::ScalarType type) {
    return vocab_parallel_cross_entropy(logits.to(type), targets, 16384 * group.size() - 5, group).each.to(at::kDouble);
  };
  EXPECT_TENSOR_NEAR(loss(at::kBFloat16), loss(at::kDouble), 1e-6);
}

// Negative control: sums in bf16 are seen.
TEST(RowSums, InBf16AreNotGoodEnough) {
  const at::Tensor ids = ids_of({kLength, kSamples}), table = numbers({kTable, kWidth}, 8);
  const Layer narrow = [&](const auto& in) { return at::embedding(in[0], ids); };
  EXPECT_FALSE(testing::tensor_near(gradients(narrow, {table}, 1.0, at::kBFloat16)[0],
                                    gradients(narrow, {table}, 1.0, at::kDouble)[0], kRoundedOnce));
}

}  // namespace
}  // namespace ringtron

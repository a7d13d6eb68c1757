// The gradient of an embedding, added to a sum.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "ringtron/kernels/embedding/embedding.h"
#include "tests/support/random_tensor.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using testing::random_tensor;

// Row by row, as the header says.
at::Tensor by_hand(const at::Tensor& sum, bool begun, const at::Tensor& dy, const at::Tensor& ids) {
  at::Tensor out = begun ? sum.clone() : at::zeros_like(sum);
  const at::Tensor flat = dy.reshape({-1, sum.size(1)}).to(sum.scalar_type()), flat_ids = ids.reshape({-1});
  for (std::int64_t i = 0; i < flat_ids.numel(); ++i) {
    const auto id = flat_ids[i].item<std::int64_t>();
    if (id >= 0 && id < sum.size(0)) out[id] += flat[i];
  }
  return out;
}

TEST(EmbeddingGradient, IsAddedOrWrittenOver) {
  const at::Tensor ids = at::tensor({3, 0, 3, -1, 5, 3, 4, 17}, at::kLong).view({4, 2});  // -1, 5 and 17 are outside
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16}) {
    const at::ScalarType wide = type == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor dy = random_tensor({4, 2, 6}, 1).to(type), before = random_tensor({5, 6}, 2).to(wide);
    for (const bool begun : {false, true}) {
      const at::Tensor got = before.clone();
      add_embedding_gradient(got, begun, dy, ids);
      EXPECT_TENSOR_NEAR(got, by_hand(before, begun, dy, ids), 1e-6);
      EXPECT_FALSE(testing::tensor_near(got, by_hand(before, !begun, dy, ids), 1e-6));
    }
  }
}

// What bf16 sums cannot: a row that many ids ask for.
TEST(EmbeddingGradient, IsSummedInFp32) {
  const at::Tensor got = at::zeros({2, 1}), dy = at::ones({5000, 1}, at::kBFloat16);
  add_embedding_gradient(got, true, dy, at::zeros({5000}, at::kLong));
  EXPECT_EQ(got[0].item<float>(), 5000.0f);
}

}  // namespace
}  // namespace ringtron

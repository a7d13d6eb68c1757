#include "ringtron/context_parallel/block/attention_dropout.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "ringtron/kernels/attention_dropout/attention_dropout_words.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

const AttentionDropout kDropout{0.3, 42, {5, 1000000}, 16};

TEST(AttentionDropout, APartIsThePartOfTheWhole) {
  const PositionRange all[] = {{0, 64}};
  const at::Tensor whole = attention_dropout_factors(kDropout, 3, all, all, at::kDouble);
  const PositionRange queries[] = {{3, 10}, {50, 64}}, keys[] = {{1, 7}, {13, 14}, {30, 45}};
  const at::Tensor part = attention_dropout_factors(kDropout, 3, queries, keys, at::kDouble);
  const auto pick = [&](const at::Tensor& x, int dim, std::initializer_list<std::pair<int, int>> ranges) {
    std::vector<at::Tensor> parts;
    for (const auto& [begin, end] : ranges) parts.push_back(x.slice(dim, begin, end));
    return at::cat(parts, dim);
  };
  EXPECT_TENSOR_EQUAL(part, pick(pick(whole, 2, {{3, 10}, {50, 64}}), 3, {{1, 7}, {13, 14}, {30, 45}}));
}

TEST(AttentionDropout, HeadsAndSamplesAreGlobal) {
  const PositionRange all[] = {{0, 32}};
  const at::Tensor whole = attention_dropout_factors(kDropout, 4, all, all, at::kDouble);
  const AttentionDropout upper{0.3, 42, {1000000}, 18};
  EXPECT_TENSOR_EQUAL(attention_dropout_factors(upper, 2, all, all, at::kDouble),
                      whole.narrow(0, 1, 1).narrow(1, 2, 2));
  EXPECT_FALSE(whole[0][0].equal(whole[0][1]));
  EXPECT_FALSE(whole[0][0].equal(whole[1][0]));
}

TEST(AttentionDropout, DropsTheRightShare) {
  const PositionRange all[] = {{0, 512}};
  const at::Tensor factors = attention_dropout_factors(kDropout, 2, all, all, at::kDouble);
  // 2^20 words: the standard deviation of the share is 4.5e-4; five of them.
  EXPECT_NEAR(factors.eq(0).to(at::kDouble).mean().item<double>(), 0.3, 2.3e-3);
  // p is the nearest of 32,768ths, 9,830 of them, and the mean stays for just that.
  EXPECT_NEAR(factors.max().item<double>(), 32768.0 / (32768 - 9830), 1e-15);
}

// What the fused kernels draw in two steps is what all others draw in one.
TEST(AttentionDropout, WordsOfPartsAreThoseOfTheWhole) {
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const PhiloxBlock random = philox4x32(1, 2, 2 * i), more = philox4x32(1, 2, 2 * i + 1);
    const std::uint64_t key = static_cast<std::uint64_t>(random.v[0]) << 32 | random.v[1],
                        stream = static_cast<std::uint64_t>(random.v[2]) << 32 | random.v[3];
    const std::int64_t query = more.v[0], block = more.v[1] / kKeysOfBlock;
    const PhiloxBlock whole = philox4x32<kMaskRounds>(
        key, stream, static_cast<std::uint64_t>(query) << 32 | static_cast<std::uint64_t>(block));
    const QueryPart of_query = query_part(key, stream, query);
    const PhiloxBlock parts = words_of_parts(key, of_query, block_part(key, stream, block)),
                      other = words_of_parts(key, of_query, block_part(key, stream, block + 1));
    for (int word = 0; word < 4; ++word) {
      ASSERT_EQ(parts.v[word], whole.v[word]);
      ASSERT_NE(other.v[word], whole.v[word]);  // negative control; alike by chance once in a million runs
    }
  }
}

TEST(AttentionDropout, RefusesCertainty) {
  const PositionRange all[] = {{0, 4}};
  EXPECT_ANY_THROW(attention_dropout_factors({1.0, 1, {0}, 0}, 1, all, all, at::kDouble));
}

}  // namespace
}  // namespace ringtron

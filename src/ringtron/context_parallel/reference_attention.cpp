#include "ringtron/context_parallel/reference_attention.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "ringtron/base/random.h"

namespace ringtron {
namespace {

// [b, n, s, s]
at::Tensor dropout_factors(const AttentionDropout& dropout, std::int64_t heads, std::int64_t s) {
  const std::int64_t batch = static_cast<std::int64_t>(dropout.sample_numbers.size());
  at::Tensor factors = at::zeros({batch, heads, s, s}, at::kDouble);
  auto at = factors.accessor<double, 4>();
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const auto stream =
          static_cast<std::uint64_t>(dropout.sample_numbers[b] * (1 << 20) + dropout.head_offset + h);
      for (std::int64_t q = 0; q < s; ++q) {
        for (std::int64_t k = 0; k < s; ++k) {
          const std::uint64_t index = (static_cast<std::uint64_t>(q) << 34) + static_cast<std::uint64_t>(k);
          const double word = random_word(dropout.key, stream, index);
          if (word >= std::floor(dropout.p * 4294967296.0)) at[b][h][q][k] = 1.0 / (1.0 - dropout.p);
        }
      }
    }
  }
  return factors;
}

}  // namespace

at::Tensor reference_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionCall& call) {
  const std::int64_t s = q.size(0), per_group = q.size(2) / k.size(2);
  const at::Tensor qh = q.to(at::kDouble).permute({1, 2, 0, 3});
  const at::Tensor kh = k.to(at::kDouble).repeat_interleave(per_group, 2).permute({1, 2, 0, 3});
  const at::Tensor vh = v.to(at::kDouble).repeat_interleave(per_group, 2).permute({1, 2, 0, 3});
  at::Tensor scores = at::matmul(qh, kh.transpose(2, 3)) * call.scale;
  if (call.causal) {
    const at::Tensor future = at::ones({s, s}, at::kBool).triu(1);
    scores = scores.masked_fill(future, -std::numeric_limits<double>::infinity());
  }
  at::Tensor p = at::softmax(scores, -1);
  if (call.dropout) p = p * dropout_factors(*call.dropout, q.size(2), s);
  return at::matmul(p, vh).permute({2, 0, 1, 3});
}

}  // namespace ringtron

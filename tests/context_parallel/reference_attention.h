// Attention of a whole sequence in one process, written to be read: the truth of every test.
//
// Quadratic in memory; every type is computed in fp64. Shares no code with the block attention, the masks or the
// transports: the mask is a matrix of booleans made from the definitions, gradients come from autograd, dropout from
// one random word per probability.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/base/random.h"
#include "ringtron/context_parallel/context_parallel.h"

namespace ringtron::testing {
namespace internal {

// The number of the document of each position.
inline std::vector<std::int64_t> documents_of_positions(const std::vector<std::int64_t>& starts, std::int64_t s) {
  std::vector<std::int64_t> documents(static_cast<std::size_t>(s), 0);
  for (std::int64_t position = 0; position < s; ++position) {
    for (const std::int64_t start : starts) {
      if (start > 0 && start <= position) ++documents[static_cast<std::size_t>(position)];
    }
  }
  return documents;
}

// Apart from documents.
inline bool in_reach(std::int64_t query, std::int64_t key, const AttentionCall& call) {
  if (call.window.left >= 0 && key < query - call.window.left) return false;
  if (call.causal) return key <= query;
  return call.window.right < 0 || key <= query + call.window.right;
}

// [b, 1, s, s]: true where the query does not see the key.
inline at::Tensor hidden_keys(const AttentionCall& call, std::int64_t batch, std::int64_t s) {
  const bool documents = call.shape && !call.shape->document_starts.empty();
  if (documents) {
    RT_CHECK_EQ(static_cast<std::int64_t>(call.shape->document_starts.size()), batch, "samples with documents");
  }
  at::Tensor hidden = at::zeros({batch, 1, s, s}, at::kBool);
  auto cell = hidden.accessor<bool, 4>();
  for (std::int64_t b = 0; b < batch; ++b) {
    std::vector<std::int64_t> starts;
    if (documents) starts = call.shape->document_starts[static_cast<std::size_t>(b)];
    const std::vector<std::int64_t> document = documents_of_positions(starts, s);
    for (std::int64_t query = 0; query < s; ++query) {
      for (std::int64_t key = 0; key < s; ++key) {
        const bool same = document[static_cast<std::size_t>(query)] == document[static_cast<std::size_t>(key)];
        cell[b][0][query][key] = !same || !in_reach(query, key, call);
      }
    }
  }
  return hidden;
}

// [b, n, s, s]; each row sums to 1, or to less where the softmax has one more term.
inline at::Tensor softmax_of(const at::Tensor& scores, const AttentionCall& call) {
  if (call.softmax == SoftmaxKind::vanilla) return at::softmax(scores, -1);
  const std::int64_t b = scores.size(0), n = scores.size(1), s = scores.size(2);
  at::Tensor term = at::zeros({n}, at::kDouble);
  if (call.softmax == SoftmaxKind::learnable) {
    RT_CHECK(call.sink.defined() && call.sink.dim() == 1 && call.sink.size(0) == n, "expected one sink per query head");
    term = call.sink.to(at::kDouble);
  }
  const at::Tensor column = term.view({1, n, 1, 1}).expand({b, n, s, 1});
  return at::softmax(at::cat({scores, column}, -1), -1).narrow(-1, 0, s);
}

// [b, n, s, s]
inline at::Tensor dropout_factors(const AttentionDropout& dropout, std::int64_t heads, std::int64_t s) {
  const std::int64_t batch = static_cast<std::int64_t>(dropout.sample_numbers.size());
  at::Tensor factors = at::zeros({batch, heads, s, s}, at::kDouble);
  auto at = factors.accessor<double, 4>();
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const auto stream = static_cast<std::uint64_t>(dropout.sample_numbers[b] * (1 << 20) + dropout.head_offset + h);
      for (std::int64_t q = 0; q < s; ++q) {
        for (std::int64_t k = 0; k < s; ++k) {
          // By the definition in attention_dropout.h, word for word.
          const PhiloxBlock words = philox4x32<7>(
              dropout.key, stream, (static_cast<std::uint64_t>(q) << 32) + static_cast<std::uint64_t>(k / 8));
          const std::uint32_t word = words.v[k % 8 / 2], half = k % 2 == 0 ? word % 65536 : word / 65536;
          const double p = std::min(std::round(dropout.p * 32768.0), 32767.0) / 32768.0;
          if (half % 32768 >= p * 32768.0) at[b][h][q][k] = 1.0 / (1.0 - p);
        }
      }
    }
  }
  return factors;
}

}  // namespace internal

// q: [s, b, n, d]; k: [s, b, g, d]; v: [s, b, g, d_v]; rows in sequence order. Returns [s, b, n, d_v] in fp64, with
// autograd, also for call.sink. Of call.shape only the documents count: layout and transport change nothing. CPU.
inline at::Tensor reference_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                      const AttentionCall& call) {
  const std::int64_t s = q.size(0), b = q.size(1), n = q.size(2), per_group = n / k.size(2);
  const at::Tensor qh = q.to(at::kDouble).permute({1, 2, 0, 3});
  const at::Tensor kh = k.to(at::kDouble).repeat_interleave(per_group, 2).permute({1, 2, 0, 3});
  const at::Tensor vh = v.to(at::kDouble).repeat_interleave(per_group, 2).permute({1, 2, 0, 3});
  at::Tensor scores = at::matmul(qh, kh.transpose(2, 3)) * call.scale;
  scores = scores.masked_fill(internal::hidden_keys(call, b, s), -std::numeric_limits<double>::infinity());
  at::Tensor p = internal::softmax_of(scores, call);
  if (call.dropout) p = p * internal::dropout_factors(*call.dropout, n, s);
  return at::matmul(p, vh).permute({2, 0, 1, 3});
}

}  // namespace ringtron::testing

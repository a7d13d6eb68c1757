// One block of attention in plain loops over fp64 numbers, and blocks of every kind to compare with it.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "ringtron/context_parallel/block/block_attention.h"
#include "tests/context_parallel/attention_case.h"
#include "tests/support/tensor_near.h"

namespace ringtron::testing {

struct BlockSizes {
  std::int64_t s_q = 9, s_kv = 13, b = 2, n = 4, g = 2, d = 5, d_v = 5;
};

struct BlockCase {
  at::Tensor q, k, v, d_out;  // values that bf16 can hold
  Band band;
  const AttentionDropout* dropout = nullptr;
  // As in a zigzag: two pieces with a gap.
  std::vector<PositionRange> q_positions = {}, kv_positions = {};

  BlockCall call() const {
    return {.scale = 0.4, .band = band, .dropout = dropout, .q_positions = q_positions, .kv_positions = kv_positions};
  }
};

inline BlockCase make_block(const BlockSizes& z, const Band& band, const AttentionDropout* dropout = nullptr) {
  const auto numbers = [](at::IntArrayRef sizes, std::uint64_t stream) {
    return random_tensor(sizes, stream).to(at::kBFloat16).to(at::kDouble);
  };
  const auto positions = [](std::int64_t s) -> std::vector<PositionRange> {
    return {{6, 6 + s / 2}, {900, 900 + s - s / 2}};
  };
  return {numbers({z.s_q, z.b, z.n, z.d}, 1),
          numbers({z.s_kv, z.b, z.g, z.d}, 2),
          numbers({z.s_kv, z.b, z.g, z.d_v}, 3),
          numbers({z.s_q, z.b, z.n, z.d_v}, 4),
          band,
          dropout,
          positions(z.s_q),
          positions(z.s_kv)};
}

struct BlockOutput {
  at::Tensor out, lse, dq, dk, dv;
};

inline at::Tensor delta_of(const at::Tensor& d_out, const at::Tensor& out) {
  const at::ScalarType sum = accumulate_type(d_out.scalar_type());
  return (d_out.to(sum) * out.to(sum)).sum(-1).permute({1, 2, 0}).contiguous();
}

// Forward, and backward as if this block were all there is.
inline BlockOutput run_block(const BlockAttention& block, const BlockCase& c, at::ScalarType type = at::kDouble) {
  const at::Tensor q = c.q.to(type), k = c.k.to(type), v = c.v.to(type), d_out = c.d_out.to(type);
  const BlockResult r = block.forward(q, k, v, c.call());
  const at::Tensor out = r.out.to(type).contiguous();
  const BlockGradient g = block.backward(q, k, v, {d_out, out, r.lse, delta_of(d_out, out)}, c.call());
  return {out.to(at::kDouble), r.lse.to(at::kDouble), g.dq.to(at::kDouble), g.dk.to(at::kDouble), g.dv.to(at::kDouble)};
}

// By loops over single numbers; row i of one query head.
class NaiveRow {
 public:
  NaiveRow(const BlockCase& c, const at::Tensor& factors, BlockOutput& r)
      : band_(c.band),
        scale_(c.call().scale),
        q_(view(c.q)),
        k_(view(c.k)),
        v_(view(c.v)),
        d_out_(view(c.d_out)),
        factors_(view(factors)),
        out_(view(r.out)),
        dq_(view(r.dq)),
        dk_(view(r.dk)),
        dv_(view(r.dv)),
        lse_(r.lse.accessor<double, 3>()) {}

  void compute(std::int64_t b, std::int64_t head, std::int64_t i) {
    const std::int64_t kv = head / (q_.size(2) / k_.size(2));
    double sum = 0.0;
    for (std::int64_t j = 0; j < k_.size(0); ++j) sum += weight(b, head, kv, i, j);
    lse_[b][head][i] = std::log(sum);
    for (std::int64_t j = 0; j < k_.size(0); ++j) {
      const double p = weight(b, head, kv, i, j) / (sum > 0 ? sum : 1.0), f = factors_[b][head][i][j];
      for (std::int64_t e = 0; e < v_.size(3); ++e) out_[i][b][head][e] += p * f * v_[j][b][kv][e];
    }
    const double delta = dot(d_out_[i][b][head], out_[i][b][head]);
    for (std::int64_t j = 0; j < k_.size(0); ++j) {
      const double p = weight(b, head, kv, i, j) / (sum > 0 ? sum : 1.0), f = factors_[b][head][i][j];
      const double ds = scale_ * p * (f * dot(d_out_[i][b][head], v_[j][b][kv]) - delta);
      for (std::int64_t e = 0; e < q_.size(3); ++e) {
        dq_[i][b][head][e] += ds * k_[j][b][kv][e];
        dk_[j][b][kv][e] += ds * q_[i][b][head][e];
      }
      for (std::int64_t e = 0; e < v_.size(3); ++e) dv_[j][b][kv][e] += p * f * d_out_[i][b][head][e];
    }
  }

 private:
  using View = at::TensorAccessor<double, 4>;
  static View view(const at::Tensor& x) { return x.accessor<double, 4>(); }

  static double dot(at::TensorAccessor<double, 1> a, at::TensorAccessor<double, 1> b) {
    double sum = 0.0;
    for (std::int64_t e = 0; e < a.size(0); ++e) sum += a[e] * b[e];
    return sum;
  }

  double weight(std::int64_t b, std::int64_t head, std::int64_t kv, std::int64_t i, std::int64_t j) {
    if (i - j > band_.left || j - i > band_.right) return 0.0;
    return std::exp(scale_ * dot(q_[i][b][head], k_[j][b][kv]));
  }

  Band band_;
  double scale_;
  View q_, k_, v_, d_out_, factors_, out_, dq_, dk_, dv_;
  at::TensorAccessor<double, 3> lse_;
};

inline BlockOutput naive_block(const BlockCase& c) {
  const std::int64_t s_q = c.q.size(0), s_kv = c.k.size(0), b = c.q.size(1), n = c.q.size(2);
  BlockOutput r{at::zeros_like(c.d_out), at::zeros({b, n, s_q}, at::kDouble), at::zeros_like(c.q), at::zeros_like(c.k),
                at::zeros_like(c.v)};
  at::Tensor factors = at::ones({b, n, s_q, s_kv}, at::kDouble);
  if (c.dropout) factors = attention_dropout_factors(*c.dropout, n, c.q_positions, c.kv_positions, factors.options());
  NaiveRow row(c, factors, r);
  for (std::int64_t sample = 0; sample < b; ++sample) {
    for (std::int64_t head = 0; head < n; ++head) {
      for (std::int64_t i = 0; i < s_q; ++i) row.compute(sample, head, i);
    }
  }
  return r;
}

// Tolerance times the largest number, or times 1 where all are smaller: a gradient may be 0 but for rounding.
inline ::testing::AssertionResult close(const at::Tensor& got, const at::Tensor& expected, double tolerance) {
  const double largest = expected.numel() == 0 ? 0.0 : expected.abs().max().item<double>();
  return tensor_near(got, expected, largest == 0.0 ? tolerance : tolerance * std::max(1.0, 1.0 / largest));
}

// Rows without keys must be the same ones.
inline ::testing::AssertionResult lse_near(const at::Tensor& got, const at::Tensor& expected, double tolerance) {
  if (!at::equal(got.isneginf(), expected.isneginf())) return ::testing::AssertionFailure() << "other rows are -inf";
  const at::Tensor empty = expected.isneginf();
  return close(got.masked_fill(empty, 0.0), expected.masked_fill(empty, 0.0), tolerance);
}

inline ::testing::AssertionResult near(const BlockOutput& got, const BlockOutput& expected, double tolerance) {
  const std::pair<const char*, ::testing::AssertionResult> results[] = {
      {"out", close(got.out, expected.out, tolerance)},
      {"lse", lse_near(got.lse, expected.lse, tolerance)},
      {"dq", close(got.dq, expected.dq, tolerance)},
      {"dk", close(got.dk, expected.dk, tolerance)},
      {"dv", close(got.dv, expected.dv, tolerance)}};
  for (const auto& [name, result] : results) {
    if (!result) return ::testing::AssertionFailure() << name << ": " << result.message();
  }
  return ::testing::AssertionSuccess();
}

inline std::string describe(const BlockSizes& z, const Band& band) {
  const auto bound = [](std::int64_t x) { return x == Band::kUnbounded ? std::string("-") : std::to_string(x); };
  return "s_q " + std::to_string(z.s_q) + " s_kv " + std::to_string(z.s_kv) + " n " + std::to_string(z.n) + " g " +
         std::to_string(z.g) + " d " + std::to_string(z.d) + " d_v " + std::to_string(z.d_v) + " left " +
         bound(band.left) + " right " + bound(band.right);
}

// Calls fn(sizes, band) for sizes with and without rows, grouped heads and values of another size, and bands of every
// kind: wide, slanted, with rows that see nothing, empty.
template <class Fn>
void for_all_blocks(Fn&& fn) {
  const BlockSizes all_sizes[] = {
      {},
      {.s_q = 13, .s_kv = 9, .n = 6, .g = 1},
      {.s_q = 8, .s_kv = 8, .b = 1, .n = 3, .g = 3, .d = 4, .d_v = 7},
      {.s_q = 1, .s_kv = 7, .b = 1, .d = 1, .d_v = 1},
      {.s_q = 7, .s_kv = 1, .d_v = 2},
      {.s_q = 1, .s_kv = 1},
      {.s_q = 0, .s_kv = 4},
      {.s_q = 4, .s_kv = 0, .d_v = 3},
      {.s_q = 0, .s_kv = 0},
  };
  const std::int64_t bounds[] = {Band::kUnbounded, 0, 1, 3, 6, 40, -1, -4, -40};
  for (const BlockSizes& sizes : all_sizes) {
    for (const std::int64_t left : bounds) {
      for (const std::int64_t right : bounds) fn(sizes, Band{left, right});
    }
  }
}

}  // namespace ringtron::testing

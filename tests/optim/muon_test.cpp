// Newton-Schulz iterations against the singular value decomposition, scales, and the split of queries, keys and values.
#include "ringtron/optim/muon.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

namespace ringtron {
namespace {

at::Tensor matrix(std::int64_t rows, std::int64_t columns) {
  return at::arange(rows * columns, at::kDouble).mul_(0.7).sin().view({rows, columns}) +
         at::eye(rows, columns, at::kDouble);
}

at::Tensor singular_values(const at::Tensor& x) { return std::get<1>(at::linalg_svd(x.to(at::kDouble))); }

// What the iteration does to one singular value.
double iterated(double sigma, std::initializer_list<std::array<double, 3>> steps) {
  for (const auto& [a, b, c] : steps) sigma = a * sigma + b * std::pow(sigma, 3) + c * std::pow(sigma, 5);
  return sigma;
}

TEST(NewtonSchulz, KeepsSingularVectorsAndMapsEachSingularValue) {
  for (const auto& [rows, columns] : {std::pair(12, 12), {5, 17}, {17, 5}, {1, 9}}) {
    const at::Tensor x = matrix(rows, columns);
    const auto [u, s, v] = at::linalg_svd(x, /*full_matrices=*/false);
    at::Tensor mapped = s / x.norm();
    for (std::int64_t i = 0; i < mapped.numel(); ++i) {
      mapped[i] = iterated(mapped[i].item<double>(), {{4.0848, -6.8946, 2.9270},
                                                      {3.9505, -6.3029, 2.6377},
                                                      {3.7418, -5.5913, 2.3037},
                                                      {2.8769, -3.1427, 1.2046},
                                                      {2.8366, -3.0525, 1.2012}});
    }
    const at::Tensor expected = u.matmul(mapped.unsqueeze(1) * v);
    EXPECT_LT((newton_schulz(x, {}) - expected).abs().max().item<double>(), 1e-11) << rows << " x " << columns;
  }
}

TEST(NewtonSchulz, EveryTableComesNearAnOrthogonalMatrix) {
  const at::Tensor x = matrix(16, 24);
  for (const auto kind :
       {MuonCoefficients::simple, MuonCoefficients::quintic, MuonCoefficients::polar_express, MuonCoefficients::aol}) {
    MuonOptions options;
    options.coefficients = kind;
    options.steps = 9;  // beyond each table
    const at::Tensor s = singular_values(newton_schulz(x, options));
    EXPECT_GT(s.min().item<double>(), 0.5) << static_cast<int>(kind);
    EXPECT_LT(s.max().item<double>(), 1.35) << static_cast<int>(kind);
  }
}

TEST(NewtonSchulz, Bf16ProductsAreNearAndZerosStay) {
  const at::Tensor x = matrix(24, 16).to(at::kFloat);
  MuonOptions exact;
  exact.bf16_products = false;
  const at::Tensor fp32 = newton_schulz(x, exact), bf16 = newton_schulz(x, {});
  EXPECT_EQ(bf16.scalar_type(), at::kFloat);
  EXPECT_LT((fp32 - newton_schulz(x.to(at::kDouble), {})).abs().max().item<double>(), 1e-4);
  EXPECT_LT((fp32 - bf16).abs().max().item<double>(), 0.1);
  EXPECT_GT((fp32 - bf16).abs().max().item<double>(), 1e-5) << "bf16 was asked for";
  EXPECT_TRUE(at::equal(newton_schulz(at::zeros({4, 6}), {}), at::zeros({4, 6})));
  EXPECT_LT((newton_schulz(x * 1e-13, exact) - fp32).abs().max().item<double>(), 1e-4);
}

TEST(Muon, Scales) {
  EXPECT_EQ(muon_scale(MuonScale::spectral, 4, 16), 4.0);
  EXPECT_EQ(muon_scale(MuonScale::spectral, 16, 4), 4.0);
  EXPECT_EQ(muon_scale(MuonScale::unit_rms_norm, 4, 16), 0.5);
  EXPECT_EQ(muon_scale(MuonScale::shape_scaling, 4, 16), 1.0);
  EXPECT_EQ(muon_scale(MuonScale::shape_scaling, 16, 4), 2.0);
}

// Queries, keys and values are three matrices; with all rows as one another comes out.
TEST(Muon, SplitsQueriesKeysAndValues) {
  MuonOptions options;
  options.qkv_rows = {4, 2, 2};
  options.extra_scale = 0.5;
  const at::Tensor x = matrix(3 * 8, 10), got = muon_direction(x, true, options);
  std::int64_t begin = 0;
  for (const std::int64_t rows : options.qkv_rows) {
    const auto pick = [&](const at::Tensor& of) {
      return of.view({3, 8, 10}).narrow(1, begin, rows).reshape({3 * rows, 10});
    };
    const double scale = 0.5 * std::sqrt(static_cast<double>(std::max<std::int64_t>(3 * rows, 10)));
    EXPECT_LT((pick(got) - newton_schulz(pick(x), options) * scale).abs().max().item<double>(), 1e-12);
    begin += rows;
  }
  EXPECT_GT((got - muon_direction(x, false, options)).abs().max().item<double>(), 0.1);
}

}  // namespace
}  // namespace ringtron

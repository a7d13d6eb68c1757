#include "ringtron/optim/muon.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

struct Coefficients {
  double a, b, c;
};

struct CoefficientTable {
  std::span<const Coefficients> steps;
  bool repeats_last;  // when it ends; else it begins again
};

// The numbers of the published iterations: docs/concepts/muon.md names the sources.
CoefficientTable table_of(MuonCoefficients kind) {
  static constexpr Coefficients kSimple[] = {{3.4445, -4.7750, 2.0315}};
  static constexpr Coefficients kQuintic[] = {{4.0848, -6.8946, 2.9270},
                                              {3.9505, -6.3029, 2.6377},
                                              {3.7418, -5.5913, 2.3037},
                                              {2.8769, -3.1427, 1.2046},
                                              {2.8366, -3.0525, 1.2012}};
  static constexpr Coefficients kPolarExpress[] = {
      {8.2051, -22.9019, 16.4607}, {4.0664, -2.8612, 0.5184}, {3.9096, -2.8234, 0.5250}, {3.2856, -2.4153, 0.4853},
      {2.2779, -1.6198, 0.3985},   {1.8726, -1.2307, 0.3585}, {1.8564, -1.2132, 0.3568}, {1.8750, -1.2500, 0.3750}};
  static constexpr Coefficients kAol[] = {
      {4.0098, -7.0585, 2.4635}, {3.4585, -5.5479, 2.5959}, {2.7573, -3.2939, 1.4254}, {2.7215, -3.0494, 1.3169}};
  switch (kind) {
    case MuonCoefficients::simple:
      return {kSimple, false};
    case MuonCoefficients::quintic:
      return {kQuintic, false};
    case MuonCoefficients::polar_express:
      return {kPolarExpress, true};
    case MuonCoefficients::aol:
      return {kAol, false};
  }
  RT_CHECK(false, "no such coefficients");
}

const Coefficients& of_step(const CoefficientTable& table, std::size_t step) {
  const std::size_t last = table.steps.size() - 1;
  return table.steps[table.repeats_last ? std::min(step, last) : step % (last + 1)];
}

constexpr double kLeastNorm = 1e-15;  // below it a matrix is not made larger, as in Megatron-LM

at::Tensor scaled_update(const at::Tensor& matrix, const MuonOptions& o) {
  return newton_schulz(matrix, o).mul_(muon_scale(o.scale, matrix.size(0), matrix.size(1)) * o.extra_scale);
}

}  // namespace

at::Tensor newton_schulz(const at::Tensor& matrix, const MuonOptions& options) {
  RT_CHECK(matrix.dim() == 2, "Muon: expected a matrix, got {} dims", matrix.dim());
  const at::NoGradGuard no_grad;
  const bool is_tall = matrix.size(0) > matrix.size(1);
  at::Tensor x = is_tall ? matrix.t() : matrix;
  // A sum of many squares: in fp64.
  const at::Tensor norm = at::linalg_vector_norm(matrix, 2, std::nullopt, false, at::kDouble).clamp_min(kLeastNorm);
  x = x / norm.to(x.scalar_type());
  if (options.bf16_products && x.scalar_type() == at::kFloat) x = x.to(at::kBFloat16);
  const CoefficientTable table = table_of(options.coefficients);
  for (int step = 0; step < options.steps; ++step) {
    const Coefficients& k = of_step(table, static_cast<std::size_t>(step));
    const at::Tensor gram = x.matmul(x.t());
    x = at::addmm(x, at::addmm(gram, gram, gram, k.b, k.c), x, k.a, 1.0);
  }
  return (is_tall ? x.t() : x).to(matrix.scalar_type(), /*non_blocking=*/false, /*copy=*/true).contiguous();
}

double muon_scale(MuonScale scale, std::int64_t rows, std::int64_t columns) {
  const double out = static_cast<double>(rows), in = static_cast<double>(columns);
  switch (scale) {
    case MuonScale::spectral:
      return std::sqrt(std::max(out, in));
    case MuonScale::unit_rms_norm:
      return std::sqrt(out / in);
    case MuonScale::shape_scaling:
      return std::sqrt(std::max(1.0, out / in));
  }
  RT_CHECK(false, "no such scale");
}

at::Tensor muon_direction(const at::Tensor& matrix, bool is_qkv, const MuonOptions& o) {
  const std::int64_t group = o.qkv_rows[0] + o.qkv_rows[1] + o.qkv_rows[2];
  if (!is_qkv || group == 0) return scaled_update(matrix, o);
  RT_CHECK(matrix.size(0) % group == 0, "Muon: expected query groups of {} rows, got {} rows", group, matrix.size(0));
  const std::int64_t columns = matrix.size(1);
  const at::Tensor by_group = matrix.view({-1, group, columns});
  at::Tensor out = at::empty_like(matrix);
  std::int64_t begin = 0;
  for (const std::int64_t rows : o.qkv_rows) {
    const at::Tensor part = by_group.narrow(1, begin, rows).reshape({-1, columns});
    out.view({-1, group, columns}).narrow(1, begin, rows).copy_(scaled_update(part, o).view({-1, rows, columns}));
    begin += rows;
  }
  return out;
}

}  // namespace ringtron

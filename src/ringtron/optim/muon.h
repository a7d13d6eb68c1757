// Muon: the momentum of a matrix, orthogonalised by Newton-Schulz iterations, is its update.
//
// With G = gradient * gradient_scale, in the type of the main weight W:
//   M = momentum M + (1 - momentum) G;  D = M, or with nesterov G + momentum (M - G)
//   W -= lr (scale(rows, columns) extra_scale newton_schulz(D) + weight_decay W)
// Only whole matrices are orthogonalised, each by one rank: muon_exchange.h. Page: docs/concepts/muon.md.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

#include "ringtron/choices/choices.h"
#include "ringtron/optim/adam.h"

namespace ringtron {

struct MuonOptions {
  double momentum = 0.9;
  bool nesterov = false;
  MuonCoefficients coefficients = MuonCoefficients::quintic;
  int steps = 5;
  MuonScale scale = MuonScale::spectral;
  double extra_scale = 1.0;
  bool bf16_products = true;  // of fp32 matrices; else fp32
  // Rows of queries, keys and values in a query group, if each of the three is a matrix of its own; else zeros.
  std::array<std::int64_t, 3> qkv_rows = {};
  AdamOptions others = {};  // of all that is no hidden matrix
};

// [m, n], fp32 or fp64, to a matrix of the same type with the same singular vectors and singular values near 1. The
// iteration of each step is X = a X + (b A + c A A) X with A = X X^T, on the side that has fewer rows. With
// `bf16_products` X is bf16 between the first normalisation and the end. Zeros stay zeros.
at::Tensor newton_schulz(const at::Tensor& matrix, const MuonOptions& options);

// By which an orthogonal matrix is multiplied, without extra_scale.
double muon_scale(MuonScale scale, std::int64_t rows, std::int64_t columns);

// What is subtracted, but for the learning rate and weight decay. `is_qkv`: the rows of each query group are queries,
// keys and values (qkv_rows). InternalError if the rows are no whole number of groups.
at::Tensor muon_direction(const at::Tensor& matrix, bool is_qkv, const MuonOptions& options);

}  // namespace ringtron

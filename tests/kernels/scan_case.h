// Random cases of the state-space scan in a 16-bit type, for its kernels on the host and on a GPU.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <vector>

#include "ringtron/kernels/ssd_scan/ssd_scan.h"
#include "tests/kernels/scan_segments_for_tests.h"
#include "tests/support/random_tensor.h"
#include "tests/support/tensor_near.h"

namespace ringtron::testing {

using Tensors = std::vector<at::Tensor>;

// Of the largest result: one rounding; fp32: sums in another order.
inline double rounding(at::ScalarType type) { return type == at::kFloat ? 1e-6 : type == at::kHalf ? 1e-3 : 8e-3; }

inline Tensors rounded(Tensors inputs, at::ScalarType type) {
  for (at::Tensor& x : inputs) x = x.to(type);
  return inputs;
}

struct ScanCase {
  std::shared_ptr<const ScanSegments> segments;
  SsdInputs in;
  SsdOptions options;
  at::Tensor initial, dy, d_final;
  int multiprocessors = 1;
};

// `most_rows`: at least 20.
inline ScanCase scan_case(unsigned key, at::ScalarType type, std::int64_t most_rows) {
  std::mt19937 random(key);
  const auto pick = [&random](std::int64_t least, std::int64_t most) {
    return least + static_cast<std::int64_t>(random()) % (most - least + 1);
  };
  const std::int64_t rows = pick(0, 3) == 0 ? pick(1, 20) : pick(1, most_rows), samples = pick(1, 2);
  const std::int64_t groups = std::int64_t{1} << pick(0, key % 5 == 0 ? 3 : 1), heads = groups * pick(1, 3);
  const std::int64_t size = 8 * pick(1, 8), states = 8 * pick(1, 16);
  ScanCase c;
  c.segments = random_segments(rows, samples, static_cast<int>(pick(1, 2 * most_rows)), random);
  if (pick(0, 3) == 0) c.options.least_step = 0.3;
  if (pick(0, 3) == 0) c.options.most_step = 1.2;
  c.multiprocessors = static_cast<int>(pick(1, 80));  // so that parts and shares of heads vary
  const Tensors t =
      rounded({random_tensor({rows, samples, heads, size}, key), random_tensor({rows, samples, heads}, key + 1),
               random_tensor({rows, samples, groups, states}, key + 2),
               random_tensor({rows, samples, groups, states}, key + 3), random_tensor({heads}, key + 4),
               random_tensor({heads}, key + 5), random_tensor({rows, samples, heads, size}, key + 6)},
              type);
  c.in = {t[0], t[1], t[2], t[3], -random_tensor({heads}, key + 7).exp().to(at::kFloat) * 0.2, t[4], t[5]};
  c.dy = t[6];
  c.initial = random_tensor({c.segments->initials(), heads, size, states}, key + 8).to(at::kFloat);
  c.d_final = random_tensor({c.segments->finals(), heads, size, states}, key + 9).to(at::kFloat);
  return c;
}

inline SsdInputs in_fp64(const SsdInputs& in) {
  const auto wide = [](const at::Tensor& x) { return x.to(at::kDouble); };
  return {wide(in.x), wide(in.dt), wide(in.B), wide(in.C), wide(in.a), wide(in.d), wide(in.dt_bias)};
}

// The gradients of the inputs and of the initial states.
inline Tensors listed(const SsdGradients& g) { return {g.x, g.dt, g.B, g.C, g.a, g.d, g.dt_bias, g.initial}; }
constexpr const char* kGradientNames[] = {"x", "dt", "B", "C", "a", "d", "dt_bias", "initial"};

// What passes a segment that is one whole piece of its document; ones first, so that there is something.
inline at::Tensor decays_of_pieces(const SsdEnds& ends, const ScanSegments& segments) {
  Tensors decays = {at::ones({ends.log_decay.size(1)}, at::kDouble)};
  for (const ScanSegment& s : segments.list()) {
    if (s.initial >= 0 && s.final >= 0) decays.push_back(ends.log_decay.select(0, s.final).cpu().to(at::kDouble).exp());
  }
  return at::stack(decays);
}

// Largest difference against the largest number, and the norm of all against the norm; expected: fp64 on the CPU. A
// result that is off by a tenth must not pass.
inline void expect_near(const at::Tensor& got, const at::Tensor& expected, double tolerance, const char* what) {
  if (expected.numel() == 0) return;
  const at::Tensor wide = got.cpu().to(at::kDouble), truth = expected.cpu();
  EXPECT_TENSOR_NEAR(wide, truth, tolerance) << what;
  EXPECT_LE((wide - truth).norm().item<double>(), tolerance * truth.norm().item<double>()) << what;
  EXPECT_FALSE(tensor_near(wide * 1.1, truth, tolerance)) << what;
}

}  // namespace ringtron::testing

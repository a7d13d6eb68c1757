// Holds a function's autograd gradient against central differences.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>

#include "tests/support/random_tensor.h"
#include "tests/support/tensor_near.h"

namespace ringtron::testing {

// Cubic terms of the difference are about kStep^2 = 1e-10, rounding about 1e-16 / kStep = 1e-11.
inline constexpr double kStep = 1e-5;
inline constexpr double kDifferenceTolerance = 1e-8;

// `function` maps an fp64 tensor to another; its outputs are weighed with random numbers into one.
inline ::testing::AssertionResult gradient_matches(const std::function<at::Tensor(const at::Tensor&)>& function,
                                                   const at::Tensor& at_point) {
  at::Tensor x = at_point.detach().clone().requires_grad_();
  const at::Tensor y = function(x);
  const at::Tensor weights = random_tensor(y.sizes(), 77);
  y.backward(weights);
  at::Tensor expected = at::empty_like(at_point);
  for (std::int64_t i = 0; i < at_point.numel(); ++i) {
    at::Tensor up = at_point.clone(), down = at_point.clone();
    up.view({-1})[i] += kStep;
    down.view({-1})[i] -= kStep;
    expected.view({-1})[i] = ((function(up) - function(down)) * weights).sum() / (2 * kStep);
  }
  return tensor_near(x.grad(), expected, kDifferenceTolerance);
}

}  // namespace ringtron::testing

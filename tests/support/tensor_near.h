// EXPECT_TENSOR_NEAR and EXPECT_TENSOR_EQUAL: compare whole tensors and say where they differ most.
//
//   EXPECT_TENSOR_NEAR(got, expected, 1e-12);  // largest |got - expected| <= 1e-12 * largest |expected|
//   EXPECT_TENSOR_EQUAL(got, expected);        // same shape, type and bits
//
// Shapes must agree; a NaN or infinity on either side fails NEAR. Where `expected` is all zero, the tolerance
// is absolute.
#pragma once

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

namespace ringtron::testing {

::testing::AssertionResult tensor_near(const at::Tensor& got, const at::Tensor& expected, double relative_tolerance);
::testing::AssertionResult tensor_equal(const at::Tensor& got, const at::Tensor& expected);

}  // namespace ringtron::testing

#define EXPECT_TENSOR_NEAR(got, expected, relative_tolerance) \
  EXPECT_TRUE(::ringtron::testing::tensor_near(got, expected, relative_tolerance)) << #got " against " #expected
#define EXPECT_TENSOR_EQUAL(got, expected) \
  EXPECT_TRUE(::ringtron::testing::tensor_equal(got, expected)) << #got " against " #expected

#include "ringtron/train/device_peak.h"

#include <gmock/gmock.h>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

TEST(DevicePeak, NamesOfTheRuntime) {
  EXPECT_EQ(peak_tflops("NVIDIA H200"), 989);
  EXPECT_EQ(peak_tflops("NVIDIA H100 80GB HBM3"), 989);
  EXPECT_EQ(peak_tflops("NVIDIA H100 PCIe"), 756);
  EXPECT_EQ(peak_tflops("NVIDIA A100-SXM4-80GB"), 312);
  EXPECT_EQ(peak_tflops("Some Other Device"), std::nullopt);
  EXPECT_EQ(peak_tflops(""), std::nullopt);
}

TEST(DevicePeak, WhatIsTooFastIsRefused) {
  EXPECT_NO_THROW(require_below_peak(988.9, "NVIDIA H200"));
  EXPECT_NO_THROW(require_below_peak(1e6, "Some Other Device"));
  try {
    require_below_peak(1234.5, "NVIDIA H200");
    FAIL() << "no error";
  } catch (const InternalError& error) {
    EXPECT_THAT(error.what(),
                ::testing::HasSubstr("measured 1234.5 TFLOP/s per GPU is above the peak of NVIDIA H200 (989)"));
  }
}

}  // namespace
}  // namespace ringtron

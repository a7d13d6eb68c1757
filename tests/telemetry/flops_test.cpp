#include "ringtron/telemetry/flops.h"

#include <gtest/gtest.h>

namespace ringtron {
namespace {

TEST(Flops, PerDevice) { EXPECT_DOUBLE_EQ(tflops_per_device(8e12, 2, 4), 1.0); }

}  // namespace
}  // namespace ringtron

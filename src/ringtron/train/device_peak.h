// How fast a device can be at most: a measured speed above it means that work was left out.
#pragma once

#include <optional>
#include <string_view>

namespace ringtron {

// Dense bf16 TFLOP/s, which no other type that a run may have exceeds, by the name that the CUDA runtime
// gives. Nothing for a device that is not in the table.
std::optional<double> peak_tflops(std::string_view device);

// Throws InternalError when `tflops` is above the device's peak.
void require_below_peak(double tflops, std::string_view device);

}  // namespace ringtron

#include "ringtron/train/device_peak.h"

#include <fmt/format.h>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

struct Peak {
  std::string_view part;  // of the name; the first that fits counts
  double tflops;
};

// NVIDIA's data sheets, without sparsity.
constexpr Peak kPeaks[] = {
    {"H100 PCIe", 756}, {"H100 NVL", 835}, {"H200 NVL", 835}, {"GH200", 989}, {"H100", 989},
    {"H200", 989},      {"GB200", 2500},   {"B200", 2250},    {"A100", 312},
};

}  // namespace

std::optional<double> peak_tflops(std::string_view device) {
  for (const Peak& peak : kPeaks) {
    if (device.find(peak.part) != std::string_view::npos) return peak.tflops;
  }
  return std::nullopt;
}

void require_below_peak(double tflops, std::string_view device) {
  const std::optional<double> peak = peak_tflops(device);
  if (!peak || tflops <= *peak) return;
  throw InternalError(
      fmt::format("measured {:.1f} TFLOP/s per GPU is above the peak of {} ({:.0f}): steps did less work "
                  "than their shapes ask for. "
                  "Do not trust this run's weights; compare a short run of the same flags with one process. "
                  "--no-proof-of-exchange "
                  "turns this check off",
                  tflops, device, *peak));
}

}  // namespace ringtron

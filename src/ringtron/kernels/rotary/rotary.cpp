#include "ringtron/kernels/rotary/rotary.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>
#include <vector>

namespace ringtron {
namespace {

// Frequencies per pair of channels, in double: the table's precision is decided by the caller.
std::vector<double> frequencies(const RotaryOptions& options, int turned) {
  std::vector<double> out(static_cast<std::size_t>(turned / 2));
  for (std::size_t i = 0; i < out.size(); ++i) {
    double f = std::pow(options.base, -2.0 * static_cast<double>(i) / turned);
    if (options.llama3_scaling) {
      constexpr double kLow = 1.0, kHigh = 4.0, kOriginal = 8192.0;
      const double wavelength = 2.0 * std::numbers::pi / f;
      if (wavelength > kOriginal / kLow) {
        f /= options.llama3_factor;
      } else if (wavelength > kOriginal / kHigh) {
        const double smooth = (kOriginal / wavelength - kLow) / (kHigh - kLow);
        f = (1.0 - smooth) * f / options.llama3_factor + smooth * f;
      }
    }
    out[i] = f;
  }
  return out;
}

at::Tensor rotate_half(const at::Tensor& x, bool interleaved) {
  if (interleaved) {
    const at::Tensor pairs = x.unflatten(-1, {x.size(-1) / 2, 2});
    return at::stack({-pairs.select(-1, 1), pairs.select(-1, 0)}, -1).flatten(-2);
  }
  const std::int64_t half = x.size(-1) / 2;
  return at::cat({-x.narrow(-1, half, half), x.narrow(-1, 0, half)}, -1);
}

}  // namespace

RotaryTable rotary_table(const at::Tensor& positions, const RotaryOptions& options, at::ScalarType type) {
  const int turned = static_cast<int>(options.head_dim * options.percent);
  const at::Tensor f = at::tensor(frequencies(options, turned), at::kDouble).to(positions.device());
  at::Tensor p = positions.to(at::kDouble);
  if (options.interpolation > 0.0) p = p / options.interpolation;
  const at::Tensor angle = p.unsqueeze(-1) * f;  // [s, b, turned / 2]
  const at::Tensor both = options.interleaved ? angle.repeat_interleave(2, -1) : at::cat({angle, angle}, -1);
  return {both.cos().to(type).unsqueeze(2), both.sin().to(type).unsqueeze(2)};
}

at::Tensor apply_rotary(const at::Tensor& x, const RotaryTable& table, bool interleaved) {
  const std::int64_t turned = table.cos.size(-1);
  const at::Tensor head = x.narrow(-1, 0, turned).to(table.cos.scalar_type());
  const at::Tensor out = (head * table.cos + rotate_half(head, interleaved) * table.sin).to(x.scalar_type());
  if (turned == x.size(-1)) return out;
  return at::cat({out, x.narrow(-1, turned, x.size(-1) - turned)}, -1);
}

}  // namespace ringtron

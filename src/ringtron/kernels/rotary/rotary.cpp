#include "ringtron/kernels/rotary/rotary.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

// The number of the pair, not whole, that makes `turns` turns within the original length.
double pair_that_turns(double turns, const RotaryOptions& options, int rotary_dim) {
  return rotary_dim * std::log(options.yarn->original_length / (2.0 * std::numbers::pi * turns)) /
         (2.0 * std::log(options.base));
}

// `f`: of the plain rotary embedding.
at::Tensor yarn_frequencies(const at::Tensor& f, const RotaryOptions& options, int rotary_dim) {
  const YarnOptions& yarn = *options.yarn;
  double first = pair_that_turns(yarn.beta_fast, options, rotary_dim);
  double last = pair_that_turns(yarn.beta_slow, options, rotary_dim);
  if (yarn.rounded) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::max(first, 0.0);
  last = std::min(last, rotary_dim - 1.0);
  if (last == first) last += 0.001;
  const at::Tensor slow = ((at::arange(rotary_dim / 2, f.options()) - first) / (last - first)).clamp(0.0, 1.0);
  return f * (1.0 - slow) + f * slow / yarn.factor;
}

// Frequencies per pair of channels, in double and made on the positions' device: a copy from the host would
// make it wait.
at::Tensor frequencies(const RotaryOptions& options, int rotary_dim, at::Device device) {
  const at::Tensor exponent =
      at::arange(0, rotary_dim, 2, at::TensorOptions().dtype(at::kDouble).device(device)) / rotary_dim;
  const at::Tensor f = at::pow(options.base, exponent.neg());
  if (options.yarn) return yarn_frequencies(f, options, rotary_dim);
  if (!options.llama3_scaling) return f;
  constexpr double kLow = 1.0, kHigh = 4.0, kOriginal = 8192.0;
  // How often a pair turns within the original length: slow pairs are stretched, fast ones kept, between them
  // a blend.
  const at::Tensor turns = f * (kOriginal / (2.0 * std::numbers::pi));
  const at::Tensor kept = ((turns - kLow) / (kHigh - kLow)).clamp(0.0, 1.0);
  return f * kept + f * (1.0 - kept) / options.llama3_factor;
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

double YarnOptions::amplitude() const {
  const auto scale = [&](double m) { return factor > 1.0 ? 0.1 * m * std::log(factor) + 1.0 : 1.0; };
  return scale(mscale) / scale(mscale_all_dim);
}

RotaryTable rotary_table(const at::Tensor& positions, const RotaryOptions& options, at::ScalarType type) {
  const int rotary_dim = static_cast<int>(options.head_dim * options.percent);
  RT_CHECK(rotary_dim > 0 && rotary_dim <= options.head_dim && rotary_dim % 2 == 0,
           "rotary: expected an even number of turned channels up to the head's {}, got {} ({} of it)",
           options.head_dim, rotary_dim, options.percent);
  RT_CHECK_EQ(positions.dim(), 2, "rotary: dimensions of positions [s, b]");
  const at::Tensor f = frequencies(options, rotary_dim, positions.device());
  at::Tensor p = positions.to(at::kDouble);
  if (options.interpolation > 0.0) p = p / options.interpolation;
  const at::Tensor angle = p.unsqueeze(-1) * f;  // [s, b, rotary_dim / 2]
  const at::Tensor both = options.interleaved ? angle.repeat_interleave(2, -1) : at::cat({angle, angle}, -1);
  at::Tensor cos = both.cos(), sin = both.sin();
  if (options.yarn) {
    cos = cos * options.yarn->amplitude();
    sin = sin * options.yarn->amplitude();
  }
  return {cos.to(type).unsqueeze(2), sin.to(type).unsqueeze(2)};
}

at::Tensor apply_rotary(const at::Tensor& x, const RotaryTable& table, bool interleaved) {
  const std::int64_t rotary_dim = table.cos.size(-1);
  const at::Tensor head = x.narrow(-1, 0, rotary_dim).to(table.cos.scalar_type());
  const at::Tensor out = (head * table.cos + rotate_half(head, interleaved) * table.sin).to(x.scalar_type());
  if (rotary_dim == x.size(-1)) return out;
  return at::cat({out, x.narrow(-1, rotary_dim, x.size(-1) - rotary_dim)}, -1);
}

}  // namespace ringtron

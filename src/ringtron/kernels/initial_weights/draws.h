// The random numbers of initial weights, two at a time, in fp64. For host and device.
#pragma once

#include <cmath>
#include <cstdint>

#include "ringtron/base/random.h"

namespace ringtron {

struct TwoDraws {
  double first, second;
};

// Elements 2 * pair and 2 * pair + 1 of stream (key, stream), N(0, scale): bit-equal to random_normal() of both on the
// host; on a GPU logarithm, cosine and sine may differ in the last bit of a double.
struct NormalPair {
  double scale;
  RT_HOST_DEVICE TwoDraws operator()(std::uint64_t key, std::uint64_t stream, std::uint64_t pair) const {
    const PhiloxBlock block = philox4x32(key, stream, pair);
    const double u1 = uniform_open(block.v[0], block.v[1]);
    const double u2 = uniform_open(block.v[2], block.v[3]);
    const double radius = std::sqrt(-2.0 * std::log(u1));
    const double angle = 6.283185307179586476925286766559 * u2;
    return {scale * (radius * std::cos(angle)), scale * (radius * std::sin(angle))};
  }
};

// The same of a uniform distribution in (-bound, bound).
struct UniformPair {
  double bound;
  RT_HOST_DEVICE TwoDraws operator()(std::uint64_t key, std::uint64_t stream, std::uint64_t pair) const {
    const PhiloxBlock block = philox4x32(key, stream, pair);
    return {bound * (2.0 * uniform_open(block.v[0], block.v[1]) - 1.0),
            bound * (2.0 * uniform_open(block.v[2], block.v[3]) - 1.0)};
  }
};

}  // namespace ringtron

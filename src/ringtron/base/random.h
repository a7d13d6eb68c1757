// Counter-based random numbers: the value at an index is a pure function of (key, index), so any process can compute
// any part of a stream and the result does not depend on how the work is divided.
//
// Philox4x32-10 of Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011, whose
// least number of rounds that passes BigCrush is 7. The same code runs in CUDA kernels, so host and device give the
// same bits.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include "ringtron/base/host_device.h"

namespace ringtron {

struct PhiloxBlock {
  std::uint32_t v[4];
};

// The four 32-bit words at `counter` of the stream `key`.
template <int kRounds = 10>
RT_HOST_DEVICE inline PhiloxBlock philox4x32(std::uint64_t key, std::uint64_t counter_high, std::uint64_t counter_low) {
  std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  std::uint32_t c0 = static_cast<std::uint32_t>(counter_low), c1 = static_cast<std::uint32_t>(counter_low >> 32);
  std::uint32_t c2 = static_cast<std::uint32_t>(counter_high), c3 = static_cast<std::uint32_t>(counter_high >> 32);
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t p0 = 0xD2511F53ull * c0;
    const std::uint64_t p1 = 0xCD9E8D57ull * c2;
    const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<std::uint32_t>(p1);
    c3 = static_cast<std::uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Word `index` of the stream (key, stream): word index%4 of block index/4.
RT_HOST_DEVICE inline std::uint32_t random_word(std::uint64_t key, std::uint64_t stream, std::uint64_t index) {
  return philox4x32(key, stream, index >> 2).v[index & 3];
}

// Uniform in (0, 1), from 53 bits; never 0, so its logarithm is finite.
RT_HOST_DEVICE inline double uniform_open(std::uint32_t high, std::uint32_t low) {
  const std::uint64_t bits = (static_cast<std::uint64_t>(high) << 21) ^ (low >> 11);
  return (static_cast<double>(bits) + 0.5) * (1.0 / 9007199254740992.0);
}

// Element `index` of a stream of standard normal numbers (Box-Muller; two elements share a block). Host only: libm's
// log and cos may differ in the last bit between machines, the same binary on the same libm gives the same bits.
inline double random_normal(std::uint64_t key, std::uint64_t stream, std::uint64_t index) {
  const PhiloxBlock block = philox4x32(key, stream, index >> 1);
  const double u1 = uniform_open(block.v[0], block.v[1]);
  const double u2 = uniform_open(block.v[2], block.v[3]);
  const double radius = std::sqrt(-2.0 * std::log(u1));
  const double angle = 6.283185307179586476925286766559 * u2;
  return (index & 1) == 0 ? radius * std::cos(angle) : radius * std::sin(angle);
}

}  // namespace ringtron

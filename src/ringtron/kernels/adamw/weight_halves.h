// An fp32 number as the bf16 number nearest to it and the 16 bits that this lacks: what the optimizer keeps of a bf16
// parameter, so that no number is stored twice. For host and device.
//
// The halves are bits(x) = upper * 2^16 + lower with a signed `lower`, so `upper` is rounded to the nearest, a tie away
// from zero, and every fp32 number comes back bit by bit; a NaN comes back as the usual quiet one.
#pragma once

#include <cstdint>
#include <cstring>

#include "ringtron/base/host_device.h"

namespace ringtron {

struct WeightHalves {
  std::uint16_t upper;  // a bf16 number
  std::int16_t lower;
};

RT_HOST_DEVICE inline WeightHalves halves_of(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if (x != x) bits = 0x7fc00000u;  // others would round to numbers
  const std::uint32_t upper = (bits + 0x8000u) >> 16;
  return {static_cast<std::uint16_t>(upper), static_cast<std::int16_t>(bits - (upper << 16))};
}

RT_HOST_DEVICE inline float whole_of(WeightHalves halves) {
  const std::uint32_t bits = (static_cast<std::uint32_t>(halves.upper) << 16) +
                             static_cast<std::uint32_t>(static_cast<std::int32_t>(halves.lower));
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

}  // namespace ringtron

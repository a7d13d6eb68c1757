// Four neighbouring elements of any of the element types, as fp32: vector8.cuh for kernels that keep many of them in
// registers. The address must be a multiple of the four elements' bytes.
#pragma once

#include <cstdint>

#include "ringtron/kernels/device/element_pair.cuh"

namespace ringtron {

struct Vector4 {
  float v[4];
};

// The same as they lie in memory: a load whose numbers are wanted later.
struct Bits4 {
  uint2 low, high;  // high: of fp32 only
};

__device__ inline Bits4 load_bits4(const void* base, std::int64_t at, Element type) {
  if (type == Element::f32) {
    const uint4 all = *reinterpret_cast<const uint4*>(static_cast<const float*>(base) + at);
    return {{all.x, all.y}, {all.z, all.w}};
  }
  return {*reinterpret_cast<const uint2*>(static_cast<const std::uint16_t*>(base) + at), {}};
}

__device__ inline Vector4 numbers_of(const Bits4& bits, Element type) {
  const std::uint32_t words[4] = {bits.low.x, bits.low.y, bits.high.x, bits.high.y};
  Vector4 r;
  if (type == Element::f32) {
#pragma unroll
    for (int i = 0; i < 4; ++i) r.v[i] = __uint_as_float(words[i]);
    return r;
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const float2 pair = unpacked(words[i], type);
    r.v[2 * i] = pair.x;
    r.v[2 * i + 1] = pair.y;
  }
  return r;
}

__device__ inline Vector4 load4(const void* base, std::int64_t at, Element type) {
  return numbers_of(load_bits4(base, at, type), type);
}

__device__ inline void store4(void* base, std::int64_t at, Element type, const Vector4& x) {
  if (type == Element::f32) {
    *reinterpret_cast<float4*>(static_cast<float*>(base) + at) = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
    return;
  }
  std::uint32_t words[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) words[i] = packed(x.v[2 * i], x.v[2 * i + 1], type);
  *reinterpret_cast<uint2*>(static_cast<std::uint16_t*>(base) + at) = uint2{words[0], words[1]};
}

}  // namespace ringtron

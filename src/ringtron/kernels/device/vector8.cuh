// Eight neighbouring elements of any of the element types, as fp32: what one thread of a memory-bound kernel moves.
// The address must be a multiple of 16 bytes.
#pragma once

#include <cstdint>

#include "ringtron/kernels/device/element_pair.cuh"

namespace ringtron {

struct Vector8 {
  float v[8];
};

// The same as they lie in memory: a load whose numbers are wanted later.
struct Bits8 {
  uint4 low, high;  // high: of fp32 only
};

// The branches depend on the launch alone, so all threads take the same one.
__device__ inline Bits8 load_bits8(const void* base, std::int64_t at, Element type) {
  if (type == Element::f32) {
    const uint4* p = reinterpret_cast<const uint4*>(static_cast<const float*>(base) + at);
    return {p[0], p[1]};
  }
  return {*reinterpret_cast<const uint4*>(static_cast<const std::uint16_t*>(base) + at), {}};
}

__device__ inline Vector8 numbers_of(const Bits8& bits, Element type) {
  Vector8 r;
  const std::uint32_t words[8] = {bits.low.x,  bits.low.y,  bits.low.z,  bits.low.w,
                                  bits.high.x, bits.high.y, bits.high.z, bits.high.w};
  if (type == Element::f32) {
#pragma unroll
    for (int i = 0; i < 8; ++i) r.v[i] = __uint_as_float(words[i]);
    return r;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 pair = unpacked(words[i], type);
    r.v[2 * i] = pair.x;
    r.v[2 * i + 1] = pair.y;
  }
  return r;
}

__device__ inline Vector8 load8(const void* base, std::int64_t at, Element type) {
  return numbers_of(load_bits8(base, at, type), type);
}

__device__ inline void store8(void* base, std::int64_t at, Element type, const Vector8& x) {
  if (type == Element::f32) {
    float4* p = reinterpret_cast<float4*>(static_cast<float*>(base) + at);
    p[0] = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
    p[1] = make_float4(x.v[4], x.v[5], x.v[6], x.v[7]);
    return;
  }
  std::uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) words[i] = packed(x.v[2 * i], x.v[2 * i + 1], type);
  *reinterpret_cast<uint4*>(static_cast<std::uint16_t*>(base) + at) =
      make_uint4(words[0], words[1], words[2], words[3]);
}

// What memory would hold: of a result that another operation would read back.
__device__ inline Vector8 rounded(const Vector8& x, Element type) {
  Vector8 r = x;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if (type == Element::bf16) r.v[i] = __bfloat162float(__float2bfloat16_rn(x.v[i]));
    if (type == Element::f16) r.v[i] = __half2float(__float2half_rn(x.v[i]));
  }
  return r;
}

}  // namespace ringtron

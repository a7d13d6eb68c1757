// Eight neighbouring elements of any of the element types, as fp32: what one thread of a memory-bound kernel moves.
// The address must be a multiple of 16 bytes.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "ringtron/kernels/device/element_type.h"

namespace ringtron {

struct Vector8 {
  float v[8];
};

// The branches depend on the launch alone, so all threads take the same one.
__device__ inline Vector8 load8(const void* base, std::int64_t at, Element type) {
  Vector8 r;
  if (type == Element::f32) {
    const float4* p = reinterpret_cast<const float4*>(static_cast<const float*>(base) + at);
    const float4 lo = p[0], hi = p[1];
    r.v[0] = lo.x, r.v[1] = lo.y, r.v[2] = lo.z, r.v[3] = lo.w;
    r.v[4] = hi.x, r.v[5] = hi.y, r.v[6] = hi.z, r.v[7] = hi.w;
    return r;
  }
  const uint4 bits = *reinterpret_cast<const uint4*>(static_cast<const std::uint16_t*>(base) + at);
  const std::uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 pair = type == Element::f16 ? __half22float2(*reinterpret_cast<const __half2*>(&words[i]))
                                             : __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&words[i]));
    r.v[2 * i] = pair.x;
    r.v[2 * i + 1] = pair.y;
  }
  return r;
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
  for (int i = 0; i < 4; ++i) {
    if (type == Element::f16) {
      const __half2 pair = __floats2half2_rn(x.v[2 * i], x.v[2 * i + 1]);
      words[i] = *reinterpret_cast<const std::uint32_t*>(&pair);
    } else {
      const __nv_bfloat162 pair = __floats2bfloat162_rn(x.v[2 * i], x.v[2 * i + 1]);
      words[i] = *reinterpret_cast<const std::uint32_t*>(&pair);
    }
  }
  *reinterpret_cast<uint4*>(static_cast<std::uint16_t*>(base) + at) = make_uint4(words[0], words[1], words[2], words[3]);
}

}  // namespace ringtron

// Two neighbouring 16-bit numbers, which share a word of registers, and what they are in fp32.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "ringtron/kernels/device/element_type.h"

namespace ringtron {

// As the lower and the upper half of a word, and back. T: __half or __nv_bfloat16.
template <class T>
__device__ std::uint32_t packed(float low, float high) {
  if constexpr (std::is_same_v<T, __half>) {
    const __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const std::uint32_t*>(&pair);
  } else {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const std::uint32_t*>(&pair);
  }
}

template <class T>
__device__ float2 unpacked(std::uint32_t word) {
  if constexpr (std::is_same_v<T, __half>) {
    return __half22float2(*reinterpret_cast<const __half2*>(&word));
  } else {
    return __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&word));
  }
}

// The same for a type that the launch says: f16 or bf16. All threads take one branch.
__device__ inline std::uint32_t packed(float low, float high, Element type) {
  return type == Element::f16 ? packed<__half>(low, high) : packed<__nv_bfloat16>(low, high);
}

__device__ inline float2 unpacked(std::uint32_t word, Element type) {
  return type == Element::f16 ? unpacked<__half>(word) : unpacked<__nv_bfloat16>(word);
}

}  // namespace ringtron

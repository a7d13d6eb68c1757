// See cuda_runtime.h beside this: what the kernels use of CUDA's bf16.
#pragma once

#include <cuda_runtime.h>

#include <c10/util/BFloat16.h>

struct __nv_bfloat16 {
  c10::BFloat16 value;
};
struct __nv_bfloat162 {
  __nv_bfloat16 x, y;
};
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return {c10::BFloat16(x)}; }
inline float __bfloat162float(__nv_bfloat16 x) { return x.value; }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
  return {__float2bfloat16_rn(x), __float2bfloat16_rn(y)};
}
inline float2 __bfloat1622float2(__nv_bfloat162 x) { return {x.x.value, x.y.value}; }
